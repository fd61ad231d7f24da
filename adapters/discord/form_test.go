package discord

import (
	"fmt"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/tickets"
)

// TestDraftsEnd: what somebody typed is kept only while they may need it.
func TestDraftsEnd(t *testing.T) {
	t.Parallel()
	c, b := newChat(t, testConfig()), adaptertest.NewBook()
	b.Add(1042, adaptertest.Request(), tickets.Place{Platform: Platform, Channel: "500000000000000001"})
	submit := func(n int, amount string) {
		t.Helper()
		in, err := decode(fmt.Appendf(nil, `{"id":"%d","type":5,"application_id":%q,"guild_id":%q,"member":{"user":{"id":%q}},"data":{"custom_id":"approve:JIT-1042","components":[
			{"component":{"custom_id":"reason","value":"mine"}},{"component":{"custom_id":"unit","value":"hours"}},{"component":{"custom_id":"amount","value":%q}}]}}`,
			n, testApplication, testGuild, testUser, amount))
		if err != nil {
			t.Fatal(err)
		}
		if s := c.interact(t.Context(), time.Now(), in, b); s.body.Type == 0 {
			t.Fatalf("interact() = %+v", s)
		}
	}
	submit(1, "99")
	submit(2, "98")
	key := draftKey{testUser, "JIT-1042", tickets.Approve}
	if f, ok := c.drafts.of(key); !ok || f != (tickets.Form{Reason: "mine", Unit: tickets.UnitHours, Amount: "98"}) {
		t.Errorf("the draft is %+v, %v", f, ok)
	}
	submit(3, "2")
	if n := len(c.drafts.all); n != 0 {
		t.Errorf("%d drafts after the decision", n)
	}
}

func TestDraftsAreBounded(t *testing.T) {
	t.Parallel()
	now := time.Now()
	d := newDrafts(func() time.Time { return now })
	key := func(i int) draftKey { return draftKey{user: fmt.Sprint(i)} }
	for i := range maxDrafts {
		d.all[key(i)] = draft{tickets.Form{Reason: "old"}, now}
	}
	d.keep(key(maxDrafts), tickets.Form{Reason: "one too many"})
	d.keep(key(7), tickets.Form{Reason: "new"})
	if f, _ := d.of(key(7)); f.Reason != "new" || len(d.all) != maxDrafts {
		t.Errorf("of %d drafts one that was changed is %+v", len(d.all), f)
	}
	now = now.Add(keepDraft + time.Second)
	d.keep(key(1), tickets.Form{})
	if len(d.all) != 1 {
		t.Errorf("%d drafts are kept after their time", len(d.all))
	}
}
