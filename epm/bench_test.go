package epm

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/tickets"
)

func BenchmarkParse(b *testing.B) {
	w := newWorld(b)
	for name, body := range map[string][]byte{
		"Application": w.body(epmtest.AppCreated, epmtest.BodyOptions{}),
		"Full":        []byte(appCreatedTemplateFilled()),
		"Admin":       w.body(epmtest.AdminCreated, epmtest.BodyOptions{}),
		"Update":      w.body(epmtest.AppUpdated, epmtest.BodyOptions{}),
		"RawPaths":    w.body(epmtest.AppCreated, epmtest.BodyOptions{Escape: epmtest.Raw, Values: map[string]string{"CmdArgs": ""}}),
		"RawQuotes":   w.body(epmtest.AppCreated, epmtest.BodyOptions{Escape: epmtest.Raw}),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := Parse(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// appCreatedTemplateFilled has a value of 41 bytes with escapes in every
// field of requestInfo: 5 KB.
func appCreatedTemplateFilled() string {
	head, info, _ := strings.Cut(appCreatedTemplate, "requestInfo")
	return strings.ReplaceAll(head, "%%", "") + "requestInfo" + placeholders.ReplaceAllString(info, `C:\\Program Files\\Acme\\Table\\table.exe`)
}

// BenchmarkReceiver is a webhook without network and store.
func BenchmarkReceiver(b *testing.B) {
	r, err := NewReceiver(ReceiverConfig{User: "u", Password: "p", Keeper: keeperFunc(func(_ context.Context, in tickets.Incoming) (tickets.Receipt, error) {
		return tickets.Receipt{Incoming: in.ID, Ticket: "JIT-1", Status: tickets.StatusCreated}, nil
	}), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	body := newWorld(b).body(epmtest.AppCreated, epmtest.BodyOptions{})
	b.ReportAllocs()
	for b.Loop() {
		q := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		q.Header.Set("Content-Type", "application/json")
		q.SetBasicAuth("u", "p")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, q)
		if w.Code != http.StatusOK {
			b.Fatal(w.Code)
		}
	}
}
