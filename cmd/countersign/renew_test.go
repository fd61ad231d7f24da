package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/internal/certtest"
)

// renewing is a renewer without a program around it.
type renewing struct {
	*renewer
	env      environment // as the files say
	findings []finding
	tried    []string
	refuse   error
	changes  int
	out      bytes.Buffer
}

func newRenewing() *renewing {
	r := &renewing{env: environment{Listen: ":0", WebhookPassword: "old", WebhookUser: "epm"}}
	var inUse atomic.Pointer[environment]
	env := r.env
	inUse.Store(&env)
	r.renewer = &renewer{
		read: func() (environment, []finding) { return r.env, r.findings }, inUse: &inUse,
		list: []renewable{{names: []string{"WEBHOOK_PASSWORD", "WEBHOOK_PASSWORD_PREVIOUS"}, try: func(_ context.Context, env *environment) error {
			r.tried = append(r.tried, env.WebhookPassword.Reveal())
			return r.refuse
		}}},
		renewed: func() { r.changes++ }, log: slog.New(slog.NewTextHandler(&r.out, nil)),
		last: r.env, refused: map[string]refusal{}, told: map[string]string{},
	}
	return r
}

func (r *renewing) used() string { return r.inUse.Load().WebhookPassword.Reveal() }

// TestSecretIsUsedWhenItIsWhole: a file may be read while somebody writes it.
func TestSecretIsUsedWhenItIsWhole(t *testing.T) {
	r := newRenewing()
	for _, step := range []struct{ file, used string }{{"ne", "old"}, {"new", "old"}, {"new", "new"}, {"new", "new"}} {
		r.env.WebhookPassword = secret(step.file)
		if r.look(t.Context(), false); r.used() != step.used {
			t.Errorf("the file says %q: %q is in use, want %q", step.file, r.used(), step.used)
		}
	}
	r.env.WebhookPassword = "newer"
	if r.look(t.Context(), true); r.used() != "newer" { // a signal says that it is whole
		t.Errorf("after a signal %q is in use", r.used())
	}
	if r.changes != 2 || len(r.tried) != 2 {
		t.Errorf("%d changes after the tries %q, want 2", r.changes, r.tried)
	}
}

// TestSecretThatIsRefused is told once, stays out of use, and is tried again
// now and then: the neighbour may not know it yet.
func TestSecretThatIsRefused(t *testing.T) {
	r := newRenewing()
	r.refuse = errors.New("not accepted")
	r.env.WebhookPassword = "planted-new"
	for range 5 {
		r.look(t.Context(), false)
	}
	if r.used() != "old" || len(r.tried) != 1 {
		t.Errorf("%q is in use after %d tries, want the old one after 1", r.used(), len(r.tried))
	}
	told := r.out.String()
	if strings.Count(told, "is not used") != 1 || !strings.Contains(told, "COUNTERSIGN_WEBHOOK_PASSWORD") || !strings.Contains(told, "not accepted") || strings.Contains(told, "planted") {
		t.Errorf("the log says\n%s\nwant the variable and why, once", told)
	}
	was := r.refused["WEBHOOK_PASSWORD"]
	was.until = time.Now()
	r.refused["WEBHOOK_PASSWORD"] = was
	r.refuse = nil
	if r.look(t.Context(), false); r.used() != "planted-new" {
		t.Errorf("%q is in use once it is accepted", r.used())
	}
}

// TestSecretFileThatIsGone: the value that was read stays.
func TestSecretFileThatIsGone(t *testing.T) {
	r := newRenewing()
	r.env.WebhookPassword = ""
	r.findings = []finding{{"WEBHOOK_PASSWORD_FILE", "the file cannot be read; check its path and permissions"}}
	for range 3 {
		r.look(t.Context(), true)
	}
	if told := r.out.String(); r.used() != "old" || strings.Count(told, "cannot be read") != 1 {
		t.Errorf("%q is in use; the log says\n%s", r.used(), told)
	}
	// One that is written in the wrong place changes nothing either.
	r.findings, r.env.WebhookPassword, r.env.EPMClientSecret = nil, "old", "planted-new"
	if r.look(t.Context(), true); !strings.Contains(r.out.String(), "COUNTERSIGN_EPM_CLIENT_SECRET") || strings.Contains(r.out.String(), "planted") {
		t.Errorf("the log says\n%s", r.out.String())
	}
}

// issue writes a certificate for this machine and its key, good until then.
func issue(t *testing.T, dir, name string, until time.Time) {
	t.Helper()
	certs, err := certtest.New(certtest.Config{Dir: t.TempDir(), Name: name, NotBefore: until.Add(-48 * time.Hour), NotAfter: until})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{certs.Cert, certs.Key} {
		if err := os.Rename(path, filepath.Join(dir, filepath.Base(path))); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCertificateIsRenewed: whoever connects gets the newest certificate that
// is good, and is never turned away.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	issue(t, dir, "first", time.Now().Add(time.Hour))
	s := tell(t, func(s *story) {
		s.env.TLSCert, s.env.TLSKey, s.renew = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), 10*time.Millisecond
		s.absent = true // ready is asked for without TLS
	})
	// Each time by a new connection, and without trust: the name is looked at.
	shown := func() string {
		t.Helper()
		transport := &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
		res, err := (&http.Client{Transport: transport}).Get("https://" + s.addr + "/healthz")
		if err != nil {
			t.Fatalf("a connection failed: %v", err)
		}
		defer res.Body.Close()
		return res.TLS.PeerCertificates[0].Subject.CommonName
	}
	if name := shown(); name != "first" {
		t.Fatalf("the certificate is %s", name)
	}
	issue(t, dir, "second", time.Now().Add(time.Hour))
	s.eventually("the second certificate", func() bool { return shown() == "second" })
	for why, spoil := range map[string]func(){
		"expired": func() { issue(t, dir, "expired", time.Now().Add(-time.Hour)) },
		"PEM": func() {
			if err := os.WriteFile(s.env.TLSKey, []byte("planted"), 0o600); err != nil {
				t.Fatal(err)
			}
		},
	} {
		spoil()
		s.eventually("told that it is "+why, func() bool {
			return strings.Contains(s.logs.String(), "COUNTERSIGN_TLS_CERT") && strings.Contains(s.logs.String(), why)
		})
		if name := shown(); name != "second" {
			t.Errorf("%s: the certificate is %s, want the one before", why, name)
		}
	}
	issue(t, dir, "third", time.Now().Add(time.Hour))
	s.eventually("the third certificate", func() bool { return shown() == "third" })
}
