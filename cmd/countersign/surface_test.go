package main

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
)

// get returns what an address answers.
func (s *story) get(path string) (int, string) {
	s.Helper()
	res, err := http.Get("http://" + s.addr + path)
	if err != nil {
		s.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		s.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestMetricsTellOfEachThing(t *testing.T) {
	t.Parallel()
	s := tell(t)
	r, _ := s.requested()
	s.decide("U01ANN", "approve", map[string]string{"reason": "ok", "unit": "once"})
	s.inEffect(r.ID, "Approved", "Once")
	s.shows("submitted to EPM")
	s.delivers([]byte("{"))
	want := []string{
		`countersign_webhooks_total{result="created"} 1`,
		`countersign_webhooks_total{result="failed"} 1`,
		`countersign_webhooks_total{result="unauthorized"} 0`,
		`countersign_tickets{progress="submitted"} 1`,
		`countersign_tickets{progress="pending"} 0`,
		`countersign_steps_total{kind="post",result="ok"} 1`,
		`countersign_steps_total{kind="send",result="ok"} 1`,
		`countersign_step_duration_seconds_count{kind="post"} 1`,
		`countersign_api_requests_total{method="chat.postMessage",platform="slack",status="200"}`,
		`countersign_api_requests_total{method="token",platform="epm",status="200"} 1`,
		`countersign_api_request_duration_seconds_count{platform="epm"}`,
		`countersign_channel_unavailable{channel="C01EPM",platform="slack"} 0`,
		`countersign_build_info{version=`,
		"go_goroutines",
	}
	s.eventually("every metric", func() bool {
		_, text := s.get("/metrics")
		for _, w := range want {
			if !strings.Contains(text, w) {
				return false
			}
		}
		return true
	})
}

func TestMetricsTellOfBacklog(t *testing.T) {
	t.Parallel()
	s := tell(t)
	s.slack.SetDown(true)
	if _, err := s.epm.RequestApp(epmtest.App{}); err != nil {
		t.Fatal(err)
	}
	s.eventually("a failed post", func() bool {
		_, text := s.get("/metrics")
		return strings.Contains(text, `countersign_steps_total{kind="post",result=`)
	})
	s.skew.Add(int64(10 * time.Minute))
	s.eventually("the backlog and its age", func() bool {
		_, text := s.get("/metrics")
		s.skew.Add(int64(time.Minute))
		return strings.Contains(text, `countersign_due_tickets{lane="slack/post"} 1`) && strings.Contains(text, `countersign_oldest_due_age_seconds{lane="slack/post"}`)
	})
}

func TestHealth(t *testing.T) {
	t.Parallel()
	s := tell(t)
	if code, body := s.get("/healthz"); code != http.StatusOK || !strings.Contains(body, "alive") {
		t.Errorf("/healthz = %d %s", code, body)
	}
	if code, body := s.get("/readyz"); code != http.StatusOK || !strings.Contains(body, `"ready":true`) {
		t.Errorf("/readyz = %d %s", code, body)
	}
	if code, body := s.get("/tickets/JIT-1001"); code != http.StatusOK || !strings.Contains(body, "/epm ticket JIT-1001") {
		t.Errorf("/tickets/JIT-1001 = %d %s", code, body)
	}
	for _, text := range []string{"Your-account-was-hacked.-Call-0800-1", "X-1", "jit-1", "-1", "JIT-0", "JIT-1-1"} {
		if code, body := s.get("/tickets/" + text); code != http.StatusNotFound || strings.Contains(body, text) {
			t.Errorf("/tickets/%s = %d %s, want 404", text, code, body)
		}
	}
	if code, _ := s.get("/tickets/%3Cscript%3E"); code != http.StatusNotFound {
		t.Errorf("/tickets/<script> = %d, want 404", code)
	}
	s.slack.FailToken(slacktest.BotToken, "token_revoked")
	if _, err := s.epm.RequestApp(epmtest.App{}); err != nil {
		t.Fatal(err)
	}
	s.eventually("not ready, with the reason in the log", func() bool {
		code, body := s.get("/readyz")
		if strings.Contains(body, "token_revoked") {
			t.Errorf("/readyz tells everybody why: %s", body)
		}
		return code == http.StatusServiceUnavailable && regexp.MustCompile(`"not ready".* err="slack: .*token_revoked`).MatchString(s.logs.String())
	})
	s.eventually("the place is out of use", func() bool {
		_, text := s.get("/metrics")
		return strings.Contains(text, `countersign_channel_unavailable{channel="C01EPM",platform="slack"} 1`)
	})
	if code, _ := s.get("/healthz"); code != http.StatusOK {
		t.Errorf("/healthz = %d, want 200: the process lives and tickets wait", code)
	}
}

// A neighbour that hangs must not keep the program from ending: that gets
// grace, which is far less than the call would take.
func TestStopsWhileANeighbourHangs(t *testing.T) {
	t.Parallel()
	s := tell(t)
	s.requested()
	s.slack.Fail(slacktest.Fault{Method: "chat.postMessage", Times: 1, Kind: slacktest.Slow, Delay: 2 * hang})
	if _, err := s.epm.RequestApp(epmtest.App{}); err != nil {
		t.Fatal(err)
	}
	s.eventually("a post that hangs", func() bool { return s.slack.Count("chat.postMessage") > 1 })
	start := time.Now()
	s.stop()
	if took := time.Since(start); took > hang {
		t.Errorf("it took %v to stop, want about %v", took, grace)
	}
}
