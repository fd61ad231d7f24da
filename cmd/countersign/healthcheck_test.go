package main

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
)

// checkHealth runs the command with an environment of these two variables.
func checkHealth(t testing.TB, listen, cert string, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), append([]string{"healthcheck"}, args...), Env{
		Environment: func() (environment, []finding) {
			// What serve would refuse is no matter here.
			return environment{Listen: listen, TLSCert: cert}, []finding{{"EPM_HOST", "is missing"}}
		},
		Stdout: &out, Stderr: io.Discard, Now: time.Now,
	})
	return out.String(), err
}

func TestHealthcheck(t *testing.T) {
	t.Parallel()
	s := tell(t)
	_, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, listen := range []string{s.addr, ":" + port, "0.0.0.0:" + port, "localhost:" + port} {
		for args, want := range map[string]string{"": "is alive", "--ready": "is ready"} {
			if out, err := checkHealth(t, listen, "", strings.Fields(args)...); err != nil || out != "the bot at "+listen+" "+want+"\n" {
				t.Errorf("healthcheck %s of %s = %q, %v, want %q", args, listen, out, err, want)
			}
		}
	}
	s.slack.FailToken(slacktest.BotToken, "token_revoked")
	if _, err := s.epm.RequestApp(epmtest.App{}); err != nil {
		t.Fatal(err)
	}
	s.eventually("not ready", func() bool {
		_, err := checkHealth(t, s.addr, "", "--ready")
		return err != nil && strings.Contains(err.Error(), "is not ready: its log and countersign doctor say why")
	})
	if out, err := checkHealth(t, s.addr, ""); err != nil {
		t.Errorf("healthcheck = %q, %v, want nil: the process lives", out, err)
	}
	s.stop()
	if out, err := checkHealth(t, s.addr, ""); err == nil || !strings.Contains(err.Error(), "does not answer") || out != "" {
		t.Errorf("healthcheck of a bot that has ended = %q, %v, want that it does not answer", out, err)
	}
}

func TestHealthcheckRefuses(t *testing.T) {
	t.Parallel()
	alive := func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, map[string]any{"alive": true}) }
	withTLS := httptest.NewTLSServer(http.HandlerFunc(alive))
	t.Cleanup(withTLS.Close)
	stranger := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(stranger.Close)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusInternalServerError, map[string]any{"alive": true})
	}))
	t.Cleanup(broken.Close)
	for name, c := range map[string]struct {
		listen, cert, args string
		want               string // in the error; empty for none
	}{
		"TLS":           {listen: withTLS.Listener.Addr().String(), cert: "tls.crt"},
		"TLSNotSaid":    {listen: withTLS.Listener.Addr().String(), want: "HTTP status 400"},
		"NoTLSThere":    {listen: stranger.Listener.Addr().String(), cert: "tls.crt", want: "does not answer"},
		"SomethingElse": {listen: stranger.Listener.Addr().String(), want: "something else answers there, with HTTP status 404"},
		"StatusCounts":  {listen: broken.Listener.Addr().String(), want: "something else answers there, with HTTP status 500"},
		"AnyPort":       {listen: "127.0.0.1:0", want: "COUNTERSIGN_LISTEN"},
		"NoPort":        {listen: "127.0.0.1", want: "COUNTERSIGN_LISTEN"},
		"Argument":      {listen: ":8080", args: "--live", want: "--ready or nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := checkHealth(t, c.listen, c.cert, strings.Fields(c.args)...)
			switch {
			case c.want == "" && err != nil:
				t.Error(err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("healthcheck = %v, want %q", err, c.want)
			}
		})
	}
}
