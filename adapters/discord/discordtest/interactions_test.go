package discordtest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
)

// click presses a button of a new card and runs on with the interaction.
func click(t *testing.T, s *discordtest.Server, on func(in interaction)) error {
	t.Helper()
	newBot(t, s, on)
	return s.Person(ann).Click(t.Context(), epm, post(t, s, card), "approve:JIT-1042")
}

func TestClickCarriesWhatRealOnesDo(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	var seen map[string]any
	err := click(t, s, func(in interaction) {
		_ = json.Unmarshal(in.raw, &seen)
		want(t, "answer", in.callback(`{"type":6}`), 204, 0)
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"id", "application_id", "type", "data", "guild", "guild_id", "channel", "channel_id", "member", "token", "version",
		"message", "app_permissions", "locale", "guild_locale", "entitlements", "authorizing_integration_owners", "context", "attachment_size_limit"} {
		if seen[key] == nil {
			t.Errorf("the interaction has no %s", key)
		}
	}
	data, _ := json.Marshal(seen["data"])
	if string(data) != `{"component_type":2,"custom_id":"approve:JIT-1042","id":4}` {
		t.Errorf("data = %s", data)
	}
	member := seen["member"].(map[string]any)
	if member["roles"].([]any)[0] != appRole || member["permissions"] == "0" || member["user"].(map[string]any)["global_name"] != "Ann Approver" {
		t.Errorf("member = %v", member)
	}
	if d := s.Deliveries(); len(d) != 1 || d[0].Via != "gateway" || d[0].Copies != 1 || d[0].User != ann || d[0].Type != 3 {
		t.Errorf("Deliveries = %+v", d)
	}
	noViolations(t, s)
}

func TestCallback(t *testing.T) {
	follow := func(in interaction) answer { return in.hook("POST", "", `{"content":"more","flags":64,`+none+`}`) }
	original := func(in interaction) answer { return in.hook("GET", "/messages/@original", "") }
	rewrite := func(in interaction) answer {
		return in.hook("PATCH", "/messages/@original", `{"content":"rewritten",`+none+`}`)
	}
	for name, c := range map[string]struct {
		first  string
		status int
		code   int
		// after the first answer
		original, follow [2]int
	}{
		"message":          {message(4, 64, "note"), 204, 0, [2]int{200, 0}, [2]int{200, 0}},
		"public":           {message(4, 0, "note"), 204, 0, [2]int{200, 0}, [2]int{200, 0}},
		"deferred":         {`{"type":5,"data":{"flags":64}}`, 204, 0, [2]int{200, 0}, [2]int{200, 0}},
		"deferred update":  {`{"type":6}`, 204, 0, [2]int{200, 0}, [2]int{200, 0}},
		"update":           {`{"type":7,"data":{"components":[{"type":10,"content":"done"}],` + none + `}}`, 204, 0, [2]int{200, 0}, [2]int{200, 0}},
		"form":             {form, 204, 0, [2]int{404, 10008}, [2]int{200, 0}},
		"pong":             {`{"type":1}`, 400, 50035, [2]int{404, 10015}, [2]int{404, 10015}},
		"choices":          {`{"type":8,"data":{"choices":[]}}`, 400, 50035, [2]int{404, 10015}, [2]int{404, 10015}},
		"no type":          {`{}`, 400, 50035, [2]int{404, 10015}, [2]int{404, 10015}},
		"empty message":    {`{"type":4,"data":{` + none + `}}`, 400, 50006, [2]int{404, 10015}, [2]int{404, 10015}},
		"too long message": {message(4, 64, strings.Repeat("x", 2001)), 400, 50035, [2]int{404, 10015}, [2]int{404, 10015}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // half of them wait until it is too late
			s := newFake(t, discordtest.Config{AckWait: 1500 * time.Millisecond})
			err := click(t, s, func(in interaction) {
				want(t, "follow-up before", follow(in), 404, 10015)
				want(t, "@original before", original(in), 404, 10015)
				want(t, "answer", in.callback(c.first), c.status, c.code)
				want(t, "@original", original(in), c.original[0], c.original[1])
				if name == "deferred" {
					if m := s.Person(ann).Ephemerals(); len(m) != 1 || m[0].Flags&discordtest.FlagLoading == 0 {
						t.Errorf("deferred: %+v", m)
					}
				}
				if c.status == 204 && name != "form" && name != "update" && name != "deferred update" {
					want(t, "rewrite", rewrite(in), 200, 0)
				}
				want(t, "follow-up", follow(in), c.follow[0], c.follow[1])
				if c.status == 204 {
					want(t, "second answer", in.callback(`{"type":6}`), 400, 40060)
				}
			})
			if (c.status == 204) != (err == nil) || err != nil && !errors.Is(err, discordtest.ErrNoAnswer) {
				t.Errorf("Click: %v", err)
			}
			noViolations(t, s)
		})
	}
}

func TestWithResponse(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	newBot(t, s, func(in interaction) {
		body := message(4, 64, "note")
		kind := 4.0
		if in.Data.CustomID == "deny:JIT-1042" {
			body, kind = `{"type":7,"data":{"components":[{"type":10,"content":"denied"}],`+none+`}}`, 7
		}
		a := rest(s, "POST", "/interactions/"+in.ID+"/"+in.Token+"/callback?with_response=true", body)
		want(t, "callback", a, 200, 0)
		if r, _ := a.body["resource"].(map[string]any); r == nil || r["type"] != kind || r["message"].(map[string]any)["id"] == nil {
			t.Errorf("answer = %s", a.raw)
		}
	})
	id := post(t, s, card)
	for _, button := range []string{"approve:JIT-1042", "deny:JIT-1042"} {
		if err := s.Person(ann).Click(t.Context(), epm, id, button); err != nil {
			t.Fatal(err)
		}
	}
	if m := s.Messages(epm); len(m) != 1 || !strings.Contains(string(m[0].Components), "denied") || m[0].Edits != 1 {
		t.Errorf("messages = %+v", m)
	}
	noViolations(t, s)
}

func TestLate(t *testing.T) {
	s := newFake(t, discordtest.Config{AckWait: 30 * time.Millisecond})
	var seen interaction
	got := make(chan struct{})
	err := click(t, s, func(in interaction) { seen = in; close(got) })
	if !errors.Is(err, discordtest.ErrNoAnswer) {
		t.Errorf("Click: %v", err)
	}
	<-got
	want(t, "late", seen.callback(message(4, 64, "x")), 404, 10062)
	want(t, "follow-up", seen.hook("POST", "", `{"content":"x",`+none+`}`), 404, 10015)
	seen.Token = "nonsense"
	want(t, "unknown", seen.callback(message(4, 64, "x")), 404, 10062)
	want(t, "unknown webhook token", seen.hook("POST", "", `{"content":"x",`+none+`}`), 401, 50027)
	noViolations(t, s)
}

func TestTokenLife(t *testing.T) {
	now := newClock()
	s := newFake(t, discordtest.Config{Now: now.Now})
	var seen interaction
	if err := click(t, s, func(in interaction) {
		seen = in
		want(t, "defer", in.callback(`{"type":5,"data":{"flags":64}}`), 204, 0)
	}); err != nil {
		t.Fatal(err)
	}
	now.Advance(14 * time.Minute)
	want(t, "in time", seen.hook("PATCH", "/messages/@original", `{"content":"done",`+none+`}`), 200, 0)
	now.Advance(2 * time.Minute)
	want(t, "too late", seen.hook("PATCH", "/messages/@original", `{"content":"done",`+none+`}`), 401, 50027)
	want(t, "follow-up", seen.hook("POST", "", `{"content":"x",`+none+`}`), 401, 50027)
	if e := s.Person(ann).Ephemerals(); len(e) != 1 || e[0].Content != "done" || e[0].Flags != discordtest.FlagEphemeral || e[0].Via != "deferred" || e[0].Edits != 0 {
		t.Errorf("ephemerals = %+v", e)
	}
	noViolations(t, s)
}

func TestDeferredThenFollowUp(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	done := make(chan struct{})
	err := click(t, s, func(in interaction) {
		defer close(done)
		want(t, "defer", in.callback(`{"type":5,"data":{"flags":64}}`), 204, 0)
		want(t, "follow-up fills the deferred message", in.hook("POST", "", `{"content":"one",`+none+`}`), 200, 0)
		a := in.hook("POST", "", `{"content":"two","flags":64,`+none+`}`)
		want(t, "second follow-up", a, 200, 0)
		want(t, "edit it", in.hook("PATCH", "/messages/"+a.str("id"), `{"content":"three",`+none+`}`), 200, 0)
		want(t, "delete @original", in.hook("DELETE", "/messages/@original", ""), 204, 0)
		want(t, "it is gone", in.hook("PATCH", "/messages/@original", `{"content":"x",`+none+`}`), 404, 10008)
	})
	if err != nil {
		t.Fatal(err)
	}
	<-done
	if e := s.Person(ann).Ephemerals(); len(e) != 1 || e[0].Content != "three" || e[0].Via != "follow-up" {
		t.Errorf("ephemerals = %+v", e)
	}
	noViolations(t, s)
}

func TestForm(t *testing.T) {
	s := newFake(t, discordtest.Config{AckWait: time.Second})
	var submitted interaction
	var answerWith atomic.Value
	answerWith.Store(form)
	newBot(t, s, func(in interaction) {
		if in.Type == 3 {
			want(t, "open", in.callback(form), 204, 0)
			return
		}
		submitted = in
		body := answerWith.Load().(string)
		if body == form {
			want(t, "form after form", in.callback(form), 400, 50035)
			return
		}
		want(t, "answer", in.callback(body), 204, 0)
	})
	p := s.Person(ann)
	ctx := t.Context()
	if err := p.Submit(ctx, nil); !errors.Is(err, discordtest.ErrNoForm) {
		t.Errorf("Submit without a form: %v", err)
	}
	id := post(t, s, card)
	if err := p.Click(ctx, epm, id, "approve:JIT-1042"); err != nil {
		t.Fatal(err)
	}
	m, open := p.Modal()
	if !open || m.CustomID != "approve:JIT-1042" || m.Title != "Approve JIT-1042" || len(m.Fields) != 3 || m.Typed["unit"] != "once" {
		t.Fatalf("Modal = %+v, %v", m, open)
	}
	if f := m.Fields[0]; f.Label != "Reason" || !f.Required || f.Min != 2 || f.Max != 10 || !f.Multiline || f.Type != discordtest.FieldText {
		t.Errorf("reason = %+v", f)
	}
	if f := m.Fields[1]; len(f.Options) != 3 || f.Type != discordtest.FieldRadio || !f.Required {
		t.Errorf("unit = %+v", f)
	}
	for values, exp := range map[string]string{"": "reason", "x": "reason", "12345678901": "reason"} {
		var blocked *discordtest.BlockedError
		if err := p.Submit(ctx, map[string]string{"reason": values}); !errors.As(err, &blocked) || len(blocked.Fields) != 1 || blocked.Fields[exp] == "" {
			t.Errorf("Submit(%q): %v", values, err)
		}
	}
	if err := p.Submit(ctx, map[string]string{"unit": "days"}); !errors.Is(err, discordtest.ErrNoSuchOption) {
		t.Errorf("unknown option: %v", err)
	}
	if err := p.Type("other", "x"); !errors.Is(err, discordtest.ErrNoSuchField) {
		t.Errorf("unknown field: %v", err)
	}
	if s.Count("POST /interactions/{interaction}/{token}/callback") != 1 {
		t.Error("the bot heard of a form that was blocked")
	}
	if err := p.Submit(ctx, map[string]string{"reason": "patch", "unit": "minutes", "amount": "30"}); !errors.Is(err, discordtest.ErrNoAnswer) {
		t.Errorf("a form that is answered with a form: %v", err)
	}
	if _, open := p.Modal(); !open {
		t.Error("the form closed without an answer")
	}
	answerWith.Store(`{"type":7,"data":{"flags":32768,"components":[{"type":10,"content":"approved"}],` + none + `}}`)
	if err := p.Submit(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if _, open := p.Modal(); open {
		t.Error("the form is still open")
	}
	if submitted.Type != 5 || submitted.Message == nil || submitted.Message.ID != id || submitted.Data.CustomID != "approve:JIT-1042" {
		t.Errorf("submitted = %s", submitted.raw)
	}
	const exp = `[{"component":{"custom_id":"reason","id":2,"type":4,"value":"patch"},"id":1,"type":18},` +
		`{"component":{"custom_id":"unit","id":4,"type":21,"value":"minutes"},"id":3,"type":18},` +
		`{"component":{"custom_id":"amount","id":6,"type":4,"value":"30"},"id":5,"type":18}]`
	if got := compact(t, submitted.Data.Components); got != exp {
		t.Errorf("components = %s\nwant %s", got, exp)
	}
	if m := s.Messages(epm)[0]; !strings.Contains(string(m.Components), "approved") {
		t.Errorf("message = %s", m.Components)
	}
	if err := p.Click(ctx, epm, id, "approve:JIT-1042"); !errors.Is(err, discordtest.ErrNoSuchButton) {
		t.Errorf("a button that has gone: %v", err)
	}
	noViolations(t, s)
}

func TestFormFields(t *testing.T) {
	const all = `{"type":9,"data":{"custom_id":"f","title":"F","components":[
	 {"type":18,"label":"A","component":{"type":3,"custom_id":"select","required":false,"placeholder":"one","max_values":2,"options":[{"label":"a","value":"a"},{"label":"b","value":"b"},{"label":"c","value":"c"}]}},
	 {"type":18,"label":"B","component":{"type":22,"custom_id":"checks","options":[{"label":"a","value":"a","default":true},{"label":"b","value":"b"}]}},
	 {"type":18,"label":"C","component":{"type":23,"custom_id":"check","default":true}},
	 {"type":10,"content":"read this"},
	 {"type":1,"components":[{"type":4,"custom_id":"old","label":"Old","style":1,"required":false,"value":"v"}]}]}}`
	s := newFake(t, discordtest.Config{})
	var submitted interaction
	newBot(t, s, func(in interaction) {
		if in.Type == 3 {
			want(t, "open", in.callback(all), 204, 0)
			return
		}
		submitted = in
		want(t, "answer", in.callback(message(4, 64, "ok")), 204, 0)
	})
	p := s.Person(ann)
	if err := p.Click(t.Context(), epm, post(t, s, card), "deny:JIT-1042"); err != nil {
		t.Fatal(err)
	}
	m, _ := p.Modal()
	if m.Typed["checks"] != "a" || m.Typed["check"] != "true" || m.Typed["old"] != "v" || len(m.Texts) != 1 || len(m.Fields) != 4 {
		t.Errorf("Modal = %+v", m)
	}
	var blocked *discordtest.BlockedError
	if err := p.Submit(t.Context(), map[string]string{"select": "a,b,c"}); !errors.As(err, &blocked) || blocked.Fields["select"] == "" {
		t.Errorf("three of two: %v", err)
	}
	if err := p.Submit(t.Context(), map[string]string{"select": "a,c", "checks": "a,b", "check": "false"}); err != nil {
		t.Fatal(err)
	}
	const exp = `[{"component":{"custom_id":"select","id":2,"type":3,"values":["a","c"]},"id":1,"type":18},` +
		`{"component":{"custom_id":"checks","id":4,"type":22,"values":["a","b"]},"id":3,"type":18},` +
		`{"component":{"custom_id":"check","id":6,"type":23,"value":false},"id":5,"type":18},` +
		`{"id":7,"type":10},{"components":[{"custom_id":"old","id":9,"type":4,"value":"v"}],"id":8,"type":1}]`
	if got := compact(t, submitted.Data.Components); got != exp {
		t.Errorf("components = %s\nwant %s", got, exp)
	}
	noViolations(t, s)
}

func TestPersonSeesButtons(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	p := s.Person(ann)
	id := post(t, s, card)
	ctx := t.Context()
	for button, exp := range map[string]error{"other": discordtest.ErrNoSuchButton, "old": discordtest.ErrDisabled, "approve:JIT-1042": discordtest.ErrUnreachable} {
		if err := p.Click(ctx, epm, id, button); !errors.Is(err, exp) {
			t.Errorf("Click(%q): %v, want %v", button, err, exp)
		}
	}
	if err := p.Click(ctx, epm, "77", "approve:JIT-1042"); !errors.Is(err, discordtest.ErrNoSuchMessage) {
		t.Errorf("no message: %v", err)
	}
	newBot(t, s, func(in interaction) {
		if in.Message == nil || in.Message.ID != "77" || in.Data.CustomID != "gone" {
			t.Errorf("interaction = %s", in.raw)
		}
		want(t, "update of what is gone", in.callback(`{"type":7,"data":{"content":"x",`+none+`}}`), 404, 10008)
		want(t, "answer", in.callback(message(4, 64, "too late")), 204, 0)
	})
	if err := p.ClickRaw(ctx, epm, "77", "gone"); err != nil {
		t.Errorf("ClickRaw: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := p.ClickRaw(ended, epm, "77", "gone"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("ClickRaw: %v", err)
	}
}

func TestSelectInMessage(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	var values []string
	newBot(t, s, func(in interaction) {
		values = in.Data.Values
		want(t, "answer", in.callback(`{"type":6}`), 204, 0)
	})
	id := post(t, s, `{"content":"choose","components":[{"type":1,"components":[{"type":3,"custom_id":"s","options":[{"label":"a","value":"a"},{"label":"b","value":"b"}]}]}],`+none+`}`)
	p := s.Person(ann)
	if err := p.Select(t.Context(), epm, id, "s", "z"); !errors.Is(err, discordtest.ErrNoSuchOption) {
		t.Errorf("unknown: %v", err)
	}
	if err := p.Click(t.Context(), epm, id, "s"); !errors.Is(err, discordtest.ErrNoSuchButton) {
		t.Errorf("a select is no button: %v", err)
	}
	if err := p.Select(t.Context(), epm, id, "s", "b"); err != nil || len(values) != 1 || values[0] != "b" {
		t.Errorf("Select: %v, %v", err, values)
	}
	noViolations(t, s)
}

func TestEphemerals(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	newBot(t, s, func(in interaction) {
		if in.Data.CustomID == "again" {
			if in.Message == nil || in.Message.Flags&64 == 0 {
				t.Errorf("message = %+v", in.Message)
			}
			want(t, "update", in.callback(`{"type":7,"data":{"content":"changed","components":[],`+none+`}}`), 204, 0)
			return
		}
		want(t, "note", in.callback(`{"type":4,"data":{"content":"Enter a number","flags":64,"components":[{"type":1,"components":[
		 {"type":2,"style":1,"label":"Try again","custom_id":"again"}]}],`+none+`}}`), 204, 0)
	})
	a, b := s.Person(ann), s.Person(bob)
	id := post(t, s, card)
	if err := a.Click(t.Context(), epm, id, "deny:JIT-1042"); err != nil {
		t.Fatal(err)
	}
	e := a.Ephemerals()
	if len(e) != 1 || len(b.Ephemerals()) != 0 || e[0].Via != "reply" || e[0].User != ann || e[0].Channel != epm {
		t.Fatalf("ephemerals = %+v, %+v", e, b.Ephemerals())
	}
	want(t, "not in the channel", rest(s, "GET", "/channels/"+epm+"/messages/"+e[0].ID, ""), 404, 10008)
	if err := b.ClickEphemeral(t.Context(), e[0].ID, "again"); !errors.Is(err, discordtest.ErrNoSuchMessage) {
		t.Errorf("bob clicks what ann sees: %v", err)
	}
	if err := a.ClickEphemeral(t.Context(), e[0].ID, "again"); err != nil {
		t.Fatal(err)
	}
	if e := a.Ephemerals(); len(e) != 1 || e[0].Content != "changed" || e[0].Components != nil || e[0].Edits != 1 || e[0].Flags != 64 {
		t.Errorf("ephemerals = %+v", e)
	}
	a.Dismiss(e[0].ID)
	if len(a.Ephemerals()) != 0 || len(s.Messages(epm)) != 1 {
		t.Error("dismissed, but still there")
	}
	noViolations(t, s)
}

func TestTwentyPeopleAndTwoConnections(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	var mu sync.Mutex
	claimed := map[string]int{}
	on := func(in interaction) {
		mu.Lock()
		claimed[in.ID]++
		first := claimed[in.ID] == 1
		mu.Unlock()
		if !first {
			return
		}
		if in.Type == 3 {
			want(t, "form", in.callback(form), 204, 0)
			return
		}
		want(t, "note", in.callback(message(4, 64, "thanks "+in.Member.User.ID)), 204, 0)
	}
	newBot(t, s, on)
	newBot(t, s, on)
	id := post(t, s, card)
	var wg sync.WaitGroup
	for i := range 20 {
		u := s.AddUser(discordtest.User{ID: fmt.Sprint(1300000000000000100 + i)})
		wg.Go(func() {
			p := s.Person(u.ID)
			if err := p.Click(t.Context(), epm, id, "approve:JIT-1042"); err != nil {
				t.Errorf("click: %v", err)
				return
			}
			if err := p.Submit(t.Context(), map[string]string{"reason": "for " + u.ID[14:]}); err != nil {
				t.Errorf("submit: %v", err)
			}
			if e := p.Ephemerals(); len(e) != 1 || e[0].Content != "thanks "+u.ID {
				t.Errorf("%s sees %+v", u.ID, e)
			}
		})
	}
	wg.Wait()
	eventually(t, "both connections got everything", func() bool {
		mu.Lock()
		defer mu.Unlock()
		for _, n := range claimed {
			if n != 2 {
				return false
			}
		}
		return len(claimed) == 40
	})
	noViolations(t, s)
}

func TestInteractionInDirectMessage(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	newBot(t, s, func(in interaction) {
		if in.Guild != "" || in.User.ID != ann || in.Member.User.ID != "" {
			t.Errorf("interaction = %s", in.raw)
		}
		want(t, "answer", in.callback(`{"type":7,"data":{"components":[{"type":10,"content":"done"}],`+none+`}}`), 204, 0)
	})
	dm := s.DM(ann)
	a := rest(s, "POST", "/channels/"+dm+"/messages", card)
	want(t, "post", a, 200, 0)
	if err := s.Person(ann).Click(t.Context(), dm, a.str("id"), "approve:JIT-1042"); err != nil {
		t.Error(err)
	}
	noViolations(t, s)
}

func TestChanges(t *testing.T) {
	s := newFake(t, discordtest.Config{})
	ctx, cancel := context.WithCancel(t.Context())
	ch := s.Changes(ctx)
	post(t, s, card)
	select {
	case <-ch:
	case <-time.After(hang):
		t.Fatal("no change was reported")
	}
	cancel()
	eventually(t, "the channel closes", func() bool {
		select {
		case _, open := <-ch:
			return !open
		default:
			return false
		}
	})
}
