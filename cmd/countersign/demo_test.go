package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// startDemo runs the command and returns the page's address. At the end of
// the test it checks that the demo ends and leaves nothing behind.
func startDemo(t *testing.T) string {
	t.Helper()
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr syncBuffer
	listening := make(chan string, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"demo", "--no-open", "--listen", "127.0.0.1:0"}, Env{
			Stdout: &stdout, Stderr: &stderr, Now: time.Now, Listening: func(addr string) { listening <- addr },
		})
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("demo ended with %v", err)
			}
		case <-time.After(hang):
			t.Error("demo does not end")
		}
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("demo left %v behind, %v", left, err)
		}
		if t.Failed() {
			t.Logf("the demo's log:\n%s", stderr.String())
		}
	})
	select {
	case addr := <-listening:
		if want := "Countersign demo: http://" + addr + "/\n"; !strings.HasPrefix(stdout.String(), want) {
			t.Fatalf("demo printed %q, want it to begin with %q", stdout.String(), want)
		}
		return "http://" + addr + "/"
	case err := <-ended:
		ended <- err
		t.Fatalf("demo did not start: %v\n%s", err, stderr.String())
	case <-time.After(hang):
		t.Fatal("demo does not start")
	}
	return ""
}

func TestDemoKeepsOtherSitesAway(t *testing.T) {
	address := startDemo(t)
	type attempt struct {
		method, path, body string
		header             map[string]string
	}
	ask := func(c attempt) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), c.method, strings.TrimSuffix(address, "/")+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range c.header {
			if k == "Host" {
				r.Host = v
				continue
			}
			r.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		if got := res.Header.Get("Content-Security-Policy"); got != demoPolicy {
			t.Errorf("%s %s: policy %q", c.method, c.path, got)
		}
		return res.StatusCode, string(body)
	}
	for name, tt := range map[string]struct {
		attempt
		want int
	}{
		"ThePage":             {attempt{"GET", "/", "", nil}, 200},
		"ByTheUsualName":      {attempt{"GET", "/", "", map[string]string{"Host": "localhost:8080"}}, 200},
		"ReboundName":         {attempt{"GET", "/", "", map[string]string{"Host": "evil.example"}}, 421},
		"OtherOrigin":         {attempt{"POST", "/api/epm/mode", `{"mode":"slow"}`, map[string]string{"Content-Type": "application/json", "Origin": "https://evil.example"}}, 403},
		"OtherSite":           {attempt{"POST", "/api/epm/mode", `{"mode":"slow"}`, map[string]string{"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}}, 403},
		"AForm":               {attempt{"POST", "/api/epm/mode", `{"mode":"slow"}`, map[string]string{"Content-Type": "text/plain"}}, 415},
		"NotJSON":             {attempt{"POST", "/api/epm/mode", `mode=slow`, map[string]string{"Content-Type": "application/json"}}, 400},
		"UnknownField":        {attempt{"POST", "/api/epm/mode", `{"x":1}`, map[string]string{"Content-Type": "application/json"}}, 400},
		"TooLong":             {attempt{"POST", "/api/epm/mode", strings.Repeat(" ", demoBody+1), map[string]string{"Content-Type": "application/json"}}, 413},
		"NoSuchMode":          {attempt{"POST", "/api/epm/mode", `{"mode":"x"}`, map[string]string{"Content-Type": "application/json"}}, 422},
		"NoSuchPerson":        {attempt{"POST", "/api/slack/command", `{"person":"U0BOT","text":"help"}`, map[string]string{"Content-Type": "application/json"}}, 422},
		"NoSuchButton":        {attempt{"POST", "/api/slack/click", `{"person":"ann","channel":"C01EPM","ts":"1.2","action_id":"approve"}`, map[string]string{"Content-Type": "application/json"}}, 422},
		"NoForm":              {attempt{"POST", "/api/slack/submit", `{"person":"ann","form":"V1"}`, map[string]string{"Content-Type": "application/json"}}, 422},
		"NoSuchDiscordPerson": {attempt{"POST", "/api/discord/command", `{"person":"1100000000000000002","command":"epm help"}`, map[string]string{"Content-Type": "application/json"}}, 422},
		"NoSuchDiscordButton": {attempt{"POST", "/api/discord/click", `{"person":"ann","channel":"1","message":"2","custom_id":"approve:JIT-1001"}`, map[string]string{"Content-Type": "application/json"}}, 422},
		"NoDiscordForm":       {attempt{"POST", "/api/discord/submit", `{"person":"ann","form":"approve:JIT-1001"}`, map[string]string{"Content-Type": "application/json"}}, 422},
		"NoSuchFile":          {attempt{"GET", "/api/discord/file/1", "", nil}, 404},
		"NoSuchCommand":       {attempt{"POST", "/api/discord/command", `{"person":"ann","command":"epm destroy"}`, map[string]string{"Content-Type": "application/json"}}, 422},
		"ModeFromTheSamePage": {attempt{"POST", "/api/epm/mode", `{"mode":"slow"}`, map[string]string{"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			if got, body := ask(tt.attempt); got != tt.want {
				t.Errorf("%s %s = %d %s, want %d", tt.method, tt.path, got, body, tt.want)
			}
		})
	}
}

func TestDemoListen(t *testing.T) {
	taken, err := demoListener(t.Context(), "127.0.0.1:0", io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for name, tt := range map[string]struct{ address, want string }{
		"TakenPort":     {taken.Addr().String(), "choose another port"},
		"EveryNetwork":  {":8080", "whole network"},
		"NoPort":        {"127.0.0.1", "an address and a port"},
		"NotAnArgument": {"", "an address and a port"},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := demoListener(t.Context(), tt.address, io.Discard)
			if err == nil {
				_ = l.Close()
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("demoListener(%q) = %v, want %q", tt.address, err, tt.want)
			}
		})
	}
	t.Run("OpenToOthersIsWarnedOf", func(t *testing.T) {
		var warnings bytes.Buffer
		l, err := demoListener(t.Context(), "0.0.0.0:0", &warnings)
		if err != nil {
			t.Fatal(err)
		}
		_ = l.Close()
		if !strings.Contains(warnings.String(), "anyone who can reach") {
			t.Errorf("warned with %q", warnings.String())
		}
	})
	t.Run("UnknownArgument", func(t *testing.T) {
		var stderr bytes.Buffer
		err := run(t.Context(), []string{"demo", "--port", "1"}, Env{Stdout: io.Discard, Stderr: &stderr, Now: time.Now})
		if err == nil || errors.Is(err, context.Canceled) || !strings.Contains(stderr.String(), "-listen") {
			t.Errorf("run(demo --port 1) = %v, with %q", err, stderr.String())
		}
	})
}
