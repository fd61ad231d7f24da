package main

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/store"
	"github.com/countersign/countersign/store/redis/redistest"
)

// startRedis starts a Redis that wants a password, or skips the test.
func startRedis(t testing.TB, args ...string) *redistest.Server {
	t.Helper()
	_, err := redistest.Find()
	if errors.Is(err, redistest.ErrMissing) && os.Getenv("COUNTERSIGN_TEST_ALL") != "1" {
		t.Skip(err)
	}
	srv, err := redistest.Start(redistest.Config{Dir: t.TempDir(), Password: true, Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Close)
	return srv
}

// withRedis keeps the program's tickets in srv.
func withRedis(srv *redistest.Server) option {
	return func(s *story) { s.env.Store = secret(srv.URL("story")) }
}

// The main story with Redis, which is killed between any two steps of a
// person.
func TestStoryRedis(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	s := tell(t, withRedis(srv))
	away := func() {
		t.Helper()
		srv.Kill()
		s.unready("store: ")
		if err := srv.Restart(); err != nil {
			t.Fatal(err)
		}
		s.eventually("ready again", func() bool { code, _ := s.get("/readyz"); return code == http.StatusOK })
	}
	r, _ := s.requested()
	away()
	if problems := s.decide("U01ANN", "approve", hours2); len(problems) > 0 {
		t.Fatalf("problems = %v", problems)
	}
	s.inEffect(r.ID, "Approved", "7200")
	s.shows("submitted to EPM")
	away()
	s.confirmed(r.ID)
	s.shows("Confirmed by EPM: approved for 2 hours, until")
	s.stop()
	s.start()
	if n := len(s.cards()); n != 1 {
		t.Errorf("%d cards after a restart, want 1", n)
	}
	if strings.Contains(s.logs.String(), redistest.Password) {
		t.Error("the log holds the password of Redis")
	}
}

// Without Redis a webhook is answered with 503, and comes again.
func TestStoryRedisAway(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	s := tell(t, withRedis(srv))
	r := s.epm.RequestAppQuietly(epmtest.App{})
	body := s.epm.Body(epmtest.AppCreated, r, epmtest.BodyOptions{})
	srv.Kill()
	if a := s.delivers(body); a.code != http.StatusServiceUnavailable {
		t.Errorf("webhook without Redis = %+v, want 503", a)
	}
	if err := srv.Restart(); err != nil {
		t.Fatal(err)
	}
	s.eventually("the webhook is kept", func() bool { return s.delivers(body).code == http.StatusOK })
	s.shows("waiting for a decision")
}

// A webhook about a ticket that a newer version keeps otherwise is answered
// with 503: EPM repeats it, and a newer replica takes it.
func TestStoryNewerTicket(t *testing.T) {
	t.Parallel()
	srv := startRedis(t)
	s := tell(t, withRedis(srv))
	r, card := s.requested()
	c := srv.Client()
	defer c.Close()
	key := "{countersign:story}:ticket:1001"
	var doc string
	s.eventually("what was posted is kept", func() bool {
		var err error
		if doc, err = c.HGet(t.Context(), key, "doc").Result(); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(doc, card.TS)
	})
	if err := c.HSet(t.Context(), key, "doc", strings.Replace(doc, fmt.Sprintf(`{"v":%d,`, store.FormVersion), fmt.Sprintf(`{"v":%d,`, store.FormVersion+1), 1)).Err(); err != nil {
		t.Fatal(err)
	}
	body := s.epm.Body(epmtest.AppCreated, r, epmtest.BodyOptions{})
	if a := s.delivers(body); a.code != http.StatusServiceUnavailable {
		t.Errorf("webhook about a newer ticket = %+v, want 503", a)
	}
	if err := c.HSet(t.Context(), key, "doc", doc).Err(); err != nil {
		t.Fatal(err)
	}
	if a := s.delivers(body); a.code != http.StatusOK {
		t.Errorf("the same where it can be read = %+v, want 200", a)
	}
}

func TestDoctorRedis(t *testing.T) {
	t.Parallel()
	srv := startRedis(t, "--appendfsync", "everysec")
	s := tell(t)
	address := "redis://" + srv.Addr() + "/0"
	text, fixes, _ := s.doctored(t.Context(), func(e *environment) { e.Store = secret(srv.URL("default")) })
	if len(fixes) != 1 || !strings.Contains(fixes[0], "appendfsync is everysec") || !strings.Contains(fixes[0], "→ Set appendfsync always") ||
		!strings.Contains(text, "ok   the store "+address+": answers and can be written") {
		t.Errorf("doctor = %q\n%s", fixes, text)
	}
	text, fixes, _ = s.doctored(t.Context(), func(e *environment) { e.Store = secret("redis://:planted@" + srv.Addr()) })
	if len(fixes) != 1 || !strings.Contains(fixes[0], "refuses the user or the password") || !strings.Contains(fixes[0], "COUNTERSIGN_STORE") || strings.Contains(text, "planted") {
		t.Errorf("doctor with a wrong password = %q\n%s", fixes, text)
	}
}
