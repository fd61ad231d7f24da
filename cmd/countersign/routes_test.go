package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWebhookPaths: an address that was typed a little wrong is taken, and any
// other is answered with the right one. To see it fail, serve mux alone.
func TestWebhookPaths(t *testing.T) {
	taken := 0
	webhooks := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { taken++ })
	mux := http.NewServeMux()
	mux.Handle(webhookPath, webhooks)
	mux.Handle(vendorPath, webhooks)
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("POST /slack/events", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	h := forgiving(mux, webhooks)
	post := func(target string) *httptest.ResponseRecorder {
		q := httptest.NewRequest(http.MethodPost, "http://x/", strings.NewReader("{}"))
		q.URL.Path = target
		w := httptest.NewRecorder()
		h.ServeHTTP(w, q)
		return w
	}
	for i, target := range []string{
		"/webhooks/epm", "/webhooks/epm/", "//webhooks/epm", "/webhooks//epm", "/webhooks/epm//", "/Webhooks/EPM", "/WEBHOOKS/EPM/", "/webhooks/./epm",
		vendorPath, vendorPath + "/", "/" + vendorPath, strings.ToUpper(vendorPath), strings.Replace(vendorPath, "/api/", "/api//", 1),
	} {
		if w := post(target); w.Code != http.StatusOK || taken != i+1 {
			t.Errorf("%s: %d, taken %d times, want %d", target, w.Code, taken, i+1)
			taken = i + 1
		}
	}
	was := taken
	for _, target := range []string{"/", "", "/webhook/epm", "/webhooks", "/webhooks/epm/x", "/epm", "/api/x_bets_pmc_jit", "/healthzz", "/slack"} {
		w := post(target)
		var said map[string]string
		if err := json.Unmarshal(w.Body.Bytes(), &said); err != nil || w.Code != http.StatusNotFound || said["status"] != "failed" || !strings.Contains(said["error"], webhookPath) {
			t.Errorf("%s: %d %s", target, w.Code, w.Body)
		}
	}
	for target, want := range map[string]int{"/healthz": http.StatusMethodNotAllowed, "/slack/events": http.StatusTeapot} {
		if w := post(target); w.Code != want {
			t.Errorf("%s: %d, want %d", target, w.Code, want)
		}
	}
	if taken != was {
		t.Errorf("%d webhooks taken that were sent elsewhere", taken-was)
	}
}
