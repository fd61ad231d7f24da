package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/countersign/countersign/store/sqlite"
	"github.com/countersign/countersign/tickets"
)

// openTerminal is a terminal of its own, and what somebody at it would see.
func openTerminal(t *testing.T) (side *os.File, seen func() string) {
	t.Helper()
	screen, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	n, err := unix.IoctlGetInt(int(screen.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(screen.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Skip(err)
	}
	side, err = os.OpenFile(filepath.Join("/dev/pts", strconv.Itoa(n)), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	var out bytes.Buffer
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(&out, screen) // ends with an error when the other side is closed
	}()
	return side, func() string {
		if err := side.Close(); err != nil {
			t.Error(err)
		}
		<-done
		_ = screen.Close()
		return out.String()
	}
}

// hostile is a body that takes a terminal over: colours, the clipboard, the
// title, and the same in eight bits.
const hostile = "{\"a\": \"\x1b[31m\x1b]52;c;cm0gLXJm\x07\x1b]0;title\x07\u009b2J\x9b2J\x7f\r\u202egpj.exe\"}"

// TestTerminalIsNotTakenOver: whatever a command prints, a terminal gets no
// control characters of others, and a file every byte.
func TestTerminalIsNotTakenOver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	keep, err := sqlite.Open(t.Context(), sqlite.Config{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	in := tickets.Incoming{ID: "0192f3a0-0000-7000-8000-000000000001", At: time.Now(), Remote: "203.0.113.9", Raw: []byte(hostile), Error: "broken \x1b]52;c;eA==\x07"}
	if _, _, err := keep.Accept(t.Context(), in, nil); err != nil {
		t.Fatal(err)
	}
	if err := keep.Close(); err != nil {
		t.Fatal(err)
	}
	env := func() (environment, []finding) { return environment{Store: secret("sqlite:" + path)}, nil }
	for _, args := range []string{"incoming show " + in.ID, "incoming list", "incoming list --json", "audit export", "tickets list", "dance\x1b[31m"} {
		t.Run(args, func(t *testing.T) {
			side, seen := openTerminal(t)
			err := run(context.Background(), strings.Split(args, " "), Env{Environment: env, Stdout: side, Stderr: side, Now: time.Now})
			shown := seen()
			for _, c := range shown {
				if c < ' ' && c != '\n' && c != '\t' && c != '\r' || c == 0x7f || c >= 0x80 && c < 0xa0 || c == 0x202e {
					t.Errorf("the terminal gets %U of\n%q, %v", c, shown, err)
					break
				}
			}
			if strings.HasPrefix(args, "incoming show") && !strings.Contains(shown, "␛]52;c;cm0gLXJm") {
				t.Errorf("what it was is not shown: %q, %v", shown, err)
			}
		})
	}
	var out bytes.Buffer
	if err := run(t.Context(), []string{"incoming", "show", in.ID}, Env{Environment: env, Stdout: &out, Stderr: io.Discard, Now: time.Now}); err != nil || out.String() != hostile {
		t.Errorf("not to a terminal: %q, %v; want every byte", out.String(), err)
	}
}

// TestTerminalInPieces: a character that comes in two pieces is one.
func TestTerminalInPieces(t *testing.T) {
	side, seen := openTerminal(t)
	w := forPeople(side).(*terminal)
	for _, b := range []byte("Grüße 密 🔒\r\n\x1b") {
		if _, err := w.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write([]byte("\xe5\xaf")); err != nil {
		t.Fatal(err)
	}
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.ReplaceAll(seen(), "\r\n", "\n"), "Grüße 密 🔒\n␛⟦0xE5⟧⟦0xAF⟧"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// TestKeyIsNeverPrinted: a key that was put where its path belongs, in PEM or
// as base64 alone, is in no error, of the start, of doctor and of a renewal.
func TestKeyIsNeverPrinted(t *testing.T) {
	key := strings.Repeat("cGxhbnRlZC1rZXk", 8)
	pem := "-----BEGIN PRIVATE KEY-----\n" + key + "\n-----END PRIVATE KEY-----\n"
	for _, value := range []string{pem, strings.ReplaceAll(pem, "\n", ""), strings.ReplaceAll(pem, "\n", `\n`), key, strings.Repeat(key, 40)} {
		for _, name := range []string{"TLS_CERT", "TLS_KEY", "EVENTS_SYSLOG_CA", "EVENTS_SYSLOG_CERT", "EVENTS_SYSLOG_KEY", "SETTINGS_TICKET_TYPES", "EPM_CLIENT_SECRET_FILE"} {
			vars := complete()
			vars["STORE"] = "sqlite:" + filepath.Join(t.TempDir(), "a.db")
			vars["LISTEN"] = "127.0.0.1:0"
			for _, other := range []string{"TLS_CERT", "TLS_KEY", "EVENTS_SYSLOG_CERT", "EVENTS_SYSLOG_KEY"} {
				if strings.HasPrefix(other, "TLS") == strings.HasPrefix(name, "TLS") {
					vars[other] = filepath.Join(t.TempDir(), "none.pem")
				}
			}
			vars["EVENTS_SYSLOG"] = "tls://127.0.0.1:6514"
			if vars[name] = value; name == "EPM_CLIENT_SECRET_FILE" {
				delete(vars, "EPM_CLIENT_SECRET")
			}
			for _, command := range []string{"serve", "doctor"} {
				if command == "doctor" && value != key {
					continue // the same for each, and slow
				}
				setenv(t, vars)
				var out bytes.Buffer
				err := run(t.Context(), []string{command}, Env{Environment: readEnvironment, Stdout: &out, Stderr: &out, Now: time.Now})
				if err == nil || strings.Contains(err.Error()+out.String(), key) {
					t.Errorf("%s with a key in %s: %v\n%s", command, name, err, out.String())
				}
			}
		}
	}
	c := certificate{certFile: key, keyFile: key, now: time.Now}
	if _, _, err := c.load(); err == nil || strings.Contains(err.Error(), key) {
		t.Errorf("renewed: %v", err)
	}
}
