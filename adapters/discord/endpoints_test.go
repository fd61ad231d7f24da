package discord_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord/discordtest"
)

func TestOnlyDiscordGetsIn(t *testing.T) {
	t.Parallel()
	h := &recording{Book: adaptertest.NewBook()}
	w := begin(t, "http", h, nil)
	_, id := posted(t, h.Book, w)
	click := string(w.fake.Person(userOf(0)).ClickBody(channel, id, "approve:JIT-1042"))
	send := func(d discordtest.RawDelivery) (int, string) {
		t.Helper()
		status, body, err := w.fake.Deliver(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		return status, body
	}
	for name, d := range map[string]discordtest.RawDelivery{
		"Unsigned":       {Unsigned: true},
		"OtherKey":       {OtherKey: true},
		"NoHex":          {Signature: strings.Repeat("zz", 64)},
		"Short":          {Signature: "abcd"},
		"Zeros":          {Signature: strings.Repeat("00", 64)},
		"Old":            {Age: 6 * time.Minute},
		"Future":         {Age: -6 * time.Minute},
		"NoTimestamp":    {Timestamp: "yesterday"},
		"HugeTimestamp":  {Timestamp: "99999999999999999999"},
		"LargeTimestamp": {Timestamp: "9223372036854775807"},
		"SmallTimestamp": {Timestamp: "-9223372036854775808"},
	} {
		for _, body := range []string{"", click} { // a PING too
			d.Body = body
			if status, _ := send(d); status != http.StatusUnauthorized {
				t.Errorf("%s: status %d, want 401", name, status)
			}
		}
	}
	if status, _ := send(discordtest.RawDelivery{Body: `"` + strings.Repeat("a", 2<<20) + `"`}); status != http.StatusRequestEntityTooLarge {
		t.Errorf("2 MiB: status %d, want 413", status)
	}
	for _, body := range []string{"{", "type=1", "\x00"} {
		if status, _ := send(discordtest.RawDelivery{Body: body}); status != http.StatusBadRequest {
			t.Errorf("%q, rightly signed: status %d, want 400", body, status)
		}
	}
	res, err := http.Get(w.bot + "/discord/interactions")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != http.MethodPost {
		t.Errorf("GET: status %d", res.StatusCode)
	}
	if n := h.all(); n != 0 {
		t.Fatalf("%d got through", n)
	}
	if status, body := send(discordtest.RawDelivery{}); status != http.StatusOK || body != `{"type":1}` {
		t.Errorf("PING: status %d, %q", status, body)
	}

	// The same bytes again, and the same click signed again, act once.
	if err := w.Click(t.Context(), 1, id, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	all := w.fake.Deliveries()
	last := all[len(all)-1]
	for range 3 {
		if status, body := send(discordtest.RawDelivery{Replay: &last}); status != http.StatusOK || body != last.Answer {
			t.Errorf("replay: status %d, %q, want the first answer", status, body)
		}
		if status, _ := send(discordtest.RawDelivery{Body: last.Body}); status != http.StatusOK {
			t.Errorf("again: status %d", status)
		}
	}
	if n := h.all(); n != 1 {
		t.Errorf("%d reached the handler, want 1", n)
	}
	if err := w.fake.CheckInteractionsURL(t.Context()); err != nil {
		t.Error(err)
	}
}

// TestSignedNonsense: whatever Discord may sign, there is an answer.
func TestSignedNonsense(t *testing.T) {
	t.Parallel()
	h := &recording{Book: adaptertest.NewBook()}
	w := begin(t, "http", h, nil)
	for _, body := range []string{"null", "7", `"x"`, "[]", "{}", `{"type":77}`, `{"type":"1"}`, `{"id":{},"type":3,"member":[],"data":7}`, `{"type":4}`} {
		status, answer, err := w.fake.Deliver(t.Context(), discordtest.RawDelivery{Body: body})
		if err != nil || status != http.StatusOK || !json.Valid([]byte(answer)) {
			t.Errorf("%s: status %d, %q, %v", body, status, answer, err)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.bot+"/discord/interactions", io.MultiReader(strings.NewReader(`{"type":1}`)))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a body without a length: %v, %v", res, err)
	} else {
		_ = res.Body.Close()
	}
	if n := h.all(); n != 0 {
		t.Errorf("%d reached the handler", n)
	}
}
