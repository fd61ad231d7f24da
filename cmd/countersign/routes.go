package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/countersign/countersign/bot"
	"github.com/countersign/countersign/tickets"
)

// routes is the HTTP surface for EPM, the chats and people; types are those that
// tickets can have, and m is nil if its metrics are shown elsewhere.
func routes(b *bot.Bot, types []tickets.Type, webhooks http.Handler, chats []chat, ready *readiness, m *metrics) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(webhookPath, webhooks)
	mux.Handle(vendorPath, webhooks)
	for _, chat := range chats {
		for pattern, handler := range chat.Endpoints(b) {
			mux.Handle(pattern, handler)
		}
	}
	// EPM shows this address beside a decision. The request itself is for
	// the chat's members alone; and nobody else's words are shown here.
	known := map[string]bool{}
	for _, kind := range types {
		known[kind.Prefix] = true
	}
	mux.HandleFunc("GET /tickets/{number}", func(w http.ResponseWriter, r *http.Request) {
		number := tickets.Number(r.PathValue("number"))
		prefix := string(number[:max(strings.LastIndexByte(string(number), '-'), 0)])
		if _, ok := number.Seq(); !ok || !known[prefix] {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		_, _ = fmt.Fprintf(w, "%s was shown and decided in chat. Search for %[1]s there, or ask the bot with /epm ticket %[1]s.\n", number)
	})
	mux.HandleFunc("GET /healthz", alive)
	mux.HandleFunc("GET /readyz", ready.answers(false))
	if m != nil {
		mux.Handle("GET /metrics", metricsHandler(m))
	}
	return closing(forgiving(mux, webhooks))
}

// vendorPath is the path of the vendor's ServiceNow application, so that only
// the host changes in EPM's webhook settings.
const vendorPath = "/api/x_bets_pmc_jit/authorization_request_webhook_handler"

// sayNoSuchPath is answered to whoever posts elsewhere: admins read it in EPM's
// delivery history.
const sayNoSuchPath = "nothing is received at this address; EPM's webhooks go to " + webhookPath

// forgiving takes webhooks whose address was typed with other letters, with a
// slash at its end or with two of them, which mux would refuse or redirect, and
// tells who posts elsewhere the right path.
func forgiving(mux *http.ServeMux, webhooks http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch p := strings.ToLower(path.Clean("/" + r.URL.Path)); {
		case p == webhookPath, p == vendorPath:
			webhooks.ServeHTTP(w, r)
			return
		case r.Method == http.MethodPost && !known(mux, r):
			answer(w, http.StatusNotFound, map[string]any{"status": tickets.StatusFailed, "error": sayNoSuchPath})
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// known reports whether mux has r's path, be it for another method.
func known(mux *http.ServeMux, r *http.Request) bool {
	for _, method := range []string{r.Method, http.MethodGet} {
		q := *r
		q.Method = method
		if _, pattern := mux.Handler(&q); pattern != "" {
			return true
		}
	}
	return false
}

// maxScrapes is how many may read the metrics at once: they take memory.
const maxScrapes = 4

// closing has connections closed after requests with a body. Who has read a
// body to its end takes the header away again: with any other the server would
// wait for the rest, as slow as it may come.
func closing(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone: nothing to do
}
