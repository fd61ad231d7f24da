package adaptertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/tickets"
)

func holds(t *testing.T, _ *Book, h Harness) {
	p := func(i int) tickets.Principal {
		return tickets.Principal{Platform: h.Chat().Platform(), Kind: tickets.User, ID: h.Actor(i).ID}
	}
	for _, tt := range []struct {
		name string
		p    tickets.Principal
		a    tickets.Actor
		want bool
	}{
		{"Same", p(0), h.Actor(0), true},
		{"Other", p(0), h.Actor(1), false},
		{"OtherPlatform", tickets.Principal{Platform: "elsewhere", Kind: tickets.User, ID: h.Actor(0).ID}, h.Actor(0), false},
		{"Nobody", tickets.Principal{Platform: h.Chat().Platform(), Kind: tickets.User}, tickets.Actor{Platform: h.Chat().Platform()}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := h.Chat().HasRole(ctx(t), tt.p, tt.a)
			if err != nil || got != tt.want {
				t.Errorf("Holds(%s, %s) = %v, %v; want %v", tt.p, tt.a, got, err, tt.want)
			}
		})
	}
}

// reaches: each of those asked for is told of in its place, with a name and a
// number where there are any.
func reaches(t *testing.T, _ *Book, h Harness) {
	p := func(i int) tickets.Principal {
		return tickets.Principal{Platform: h.Chat().Platform(), Kind: tickets.User, ID: h.Actor(i).ID}
	}
	h.Fail(OpIdentify, LostRequest)
	if got := h.Chat().Resolve(ctx(t), []tickets.Principal{p(0)}); len(got) != 1 || got[0].Err == nil || got[0].People != 0 || got[0].Problem != "" {
		t.Errorf("Reach = %+v although the call failed; want an error", got)
	}
	many, empty := h.Many("many", 7), h.Many("empty", 0)
	none, nobody := many, p(0)
	none.ID, nobody.ID = h.Missing(many), h.Missing(p(0))
	who := []tickets.Principal{
		many, p(3), empty, {Platform: "elsewhere", Kind: tickets.User, ID: p(0).ID}, none, p(0), nobody,
		{Platform: h.Chat().Platform(), Kind: "kind of another platform", ID: "1"},
	}
	got := h.Chat().Resolve(ctx(t), who)
	if len(got) != len(who) {
		t.Fatalf("Reach tells of %d, want %d", len(got), len(who))
	}
	for i, want := range []adapters.Reach{
		{Name: "@many", People: 7, Counted: true},
		{Name: h.Actor(3).Name, People: 1, Counted: true},
		{Name: "@empty", Counted: true, Problem: "x"},
		{Err: errors.New("x")},
		{Problem: "x"},
		{Name: h.Actor(0).Name, People: 1, Counted: true}, // an error is not remembered
		{Problem: "x"},
		{Problem: "x"},
	} {
		g := got[i]
		if g.Name != want.Name || g.People != want.People || (g.Problem != "") != (want.Problem != "") || (g.Err != nil) != (want.Err != nil) ||
			(g.Counted != want.Counted && want.Problem == "") {
			t.Errorf("Reach of %s = %+v; want %+v", who[i], g, want)
		}
	}
}

// identified checks what is known of person i.
func identified(t *testing.T, h Harness, i int) {
	t.Helper()
	got, err := h.Chat().Identify(ctx(t), h.Actor(i))
	if err != nil {
		t.Errorf("Identify(%d) = %v", i, err)
		return
	}
	if !slices.Contains(got.Names, h.Actor(i).Name) {
		t.Errorf("Identify(%d) = %+v, want the name %s", i, got, h.Actor(i).Name)
	}
	for _, text := range append(got.Emails, got.Names...) {
		if text == "" {
			t.Errorf("Identify(%d) = %+v, with an empty text", i, got)
		}
	}
	for _, email := range got.Emails {
		if !strings.HasPrefix(email, h.Actor(i).Name+"@") {
			t.Errorf("Identify(%d) = %+v, want their own address", i, got)
		}
	}
}

func identifies(t *testing.T, _ *Book, h Harness) {
	h.Fail(OpIdentify, LostRequest)
	if got, err := h.Chat().Identify(ctx(t), h.Actor(0)); err == nil {
		t.Errorf("Identify() = %+v although the call failed", got)
	}
	identified(t, h, 0) // an error is not remembered
	var all sync.WaitGroup
	for i := range People {
		all.Go(func() { identified(t, h, i%3) })
	}
	all.Wait()
	for _, a := range []tickets.Actor{{}, {Platform: h.Chat().Platform()}, {Platform: "elsewhere", ID: h.Actor(0).ID, Name: "x"}} {
		if got, err := h.Chat().Identify(ctx(t), a); err == nil {
			t.Errorf("Identify(%+v) = %+v, want an error", a, got)
		}
	}
}

// identifiesActors: who acts can be identified in time for the answer.
func identifiesActors(t *testing.T, b *Book, h Harness) {
	m := post(t, h, b.Add(1042, Request(), h.Place()))
	asked := make(chan error, 1)
	b.asks = func(ctx context.Context, a tickets.Actor) {
		got, err := h.Chat().Identify(ctx, a)
		if err == nil && !slices.Contains(got.Names, h.Actor(2).Name) {
			err = fmt.Errorf("Identify(%+v) = %+v", a, got)
		}
		asked <- err
	}
	if err := h.Click(ctx(t), 2, m.ID, adapters.ActionApprove); err != nil {
		t.Fatal(err)
	}
	if err := <-asked; err != nil {
		t.Error(err)
	}
	if h.Screen(2) == "" {
		t.Error("no form")
	}
}
