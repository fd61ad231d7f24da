package discord_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/tickets"
)

func principal(kind tickets.PrincipalKind, id string) tickets.Principal {
	return tickets.Principal{Platform: discord.Platform, Kind: kind, ID: id}
}

func TestHoldsRoles(t *testing.T) {
	t.Parallel()
	const role, lost = "400000000000000001", "400000000000000002"
	b := adaptertest.NewBook()
	var ahead clock
	w := begin(t, "gateway", b, ahead.set)
	w.fake.AddRole(discordtest.Role{ID: role, Name: "helpdesk"})
	w.fake.AddRole(discordtest.Role{ID: lost, Name: "former"})
	w.fake.SetRoles(userOf(0), role)
	check := func(i int, r string, want bool) {
		t.Helper()
		if got, err := w.chat.HasRole(t.Context(), principal(tickets.Role, r), w.Actor(i)); err != nil || got != want {
			t.Errorf("Holds(%s, %d) = %v, %v; want %v", r, i, got, err, want)
		}
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { check(0, role, true) })
	}
	all.Wait()
	check(0, lost, false)
	if n := w.fake.Count(routeMember); n != 1 {
		t.Errorf("the member was asked for %d times, want 1", n)
	}
	check(1, role, false)

	// What comes with a click is newer than what is remembered.
	_, id := posted(t, b, w)
	w.fake.SetRoles(userOf(0), lost)
	w.opens(0, id)
	before := w.fake.Count(routeMember)
	check(0, role, false)
	check(0, lost, true)
	if n := w.fake.Count(routeMember) - before; n != 0 {
		t.Errorf("asked %d times although the click told", n)
	}

	w.fake.SetRoles(userOf(0), role)
	ahead.advance(61 * time.Second)
	check(0, role, true)

	// Whoever has left the server holds nothing.
	ahead.advance(61 * time.Second)
	w.fake.AddUser(discordtest.User{ID: userOf(0), Username: "person0", Roles: []string{role}, Stranger: true})
	check(0, role, false)
	if got, err := w.chat.HasRole(t.Context(), principal(tickets.Role, role), tickets.Actor{Platform: discord.Platform, ID: "399999999999999999"}); got || err != nil {
		t.Errorf("an unknown user holds the role: %v, %v", got, err)
	}

	// What cannot be found out lets nobody in, and is asked again.
	for name, f := range map[string]discordtest.Fault{
		"ServerError": {Kind: discordtest.ServerError}, "Drop": {Kind: discordtest.DropConnection}, "NoGuild": named(10004, 404),
		"NoAccess": named(50001, 403), "Proxy": named(0, 404), "List": {Kind: discordtest.Empty},
	} {
		ahead.advance(61 * time.Second)
		w.fake.SetRoles(userOf(2), role)
		f.Route, f.Times = routeMember, -1 // a read that is dropped is made again by net/http
		w.fake.Fail(f)
		got, err := w.chat.HasRole(t.Context(), principal(tickets.Role, role), w.Actor(2))
		w.fake.ClearFaults()
		if got || err == nil && name != "List" {
			t.Errorf("%s: Holds() = %v, %v; want an error", name, got, err)
		}
		if name != "List" {
			check(2, role, true)
		}
	}
	for _, p := range []tickets.Principal{principal(tickets.Group, role), principal(tickets.Channel, channel)} {
		if got, err := w.chat.HasRole(t.Context(), p, w.Actor(1)); got || err == nil {
			t.Errorf("Holds(%s) = %v, %v; want an error", p, got, err)
		}
	}
	for _, a := range []tickets.Actor{{}, {Platform: discord.Platform}, {Platform: "slack", ID: userOf(2)}} {
		for _, p := range []tickets.Principal{principal(tickets.Role, role), principal(tickets.User, userOf(2)), principal(tickets.User, "")} {
			if got, err := w.chat.HasRole(t.Context(), p, a); got || err != nil {
				t.Errorf("Holds(%s, %+v) = %v, %v", p, a, got, err)
			}
		}
	}
}

// TestHoldsOfARoleThatIsGone: nobody has it, which is no error.
func TestHoldsOfARoleThatIsGone(t *testing.T) {
	t.Parallel()
	const role, never = "400000000000000001", "400000000000000009"
	var ahead clock
	w := begin(t, "gateway", adaptertest.NewBook(), ahead.set)
	w.fake.AddRole(discordtest.Role{ID: role, Name: "helpdesk"})
	w.fake.SetRoles(userOf(0), role)
	if got, err := w.chat.HasRole(t.Context(), principal(tickets.Role, role), w.Actor(0)); !got || err != nil {
		t.Fatalf("Holds = %v, %v before it is deleted", got, err)
	}
	w.fake.RemoveRole(role)
	ahead.advance(61 * time.Second)
	for _, r := range []string{role, never} {
		for i := range 2 {
			if got, err := w.chat.HasRole(t.Context(), principal(tickets.Role, r), w.Actor(i)); got || err != nil {
				t.Errorf("Holds(%s, %d) = %v, %v; want nobody, without an error", r, i, got, err)
			}
		}
	}
	for _, r := range w.chat.Resolve(t.Context(), []tickets.Principal{principal(tickets.Role, role), principal(tickets.Role, never)}) {
		if r.Problem != "the server has no such role" || r.Err != nil {
			t.Errorf("Reach = %+v, want that there is no such role", r)
		}
	}
}

func TestIdentify(t *testing.T) {
	t.Parallel()
	b := adaptertest.NewBook()
	var ahead clock
	w := begin(t, "gateway", b, ahead.set)
	w.fake.AddUser(discordtest.User{ID: userOf(0), Username: "jane", GlobalName: "Jane Doe", Nick: "Jane of IT"})
	w.fake.AddUser(discordtest.User{ID: userOf(1), Username: "bob", GlobalName: "Bob"})
	check := func(i int, want ...string) {
		t.Helper()
		got, err := w.chat.Identify(t.Context(), w.Actor(i))
		if err != nil || len(got.Emails) > 0 || !slices.Equal(got.Names, want) {
			t.Errorf("Identify(%d) = %+v, %v; want the names %q alone", i, got, err, want)
		}
	}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() { check(0, "Jane of IT", "Jane Doe", "jane") })
	}
	all.Wait()
	check(1, "Bob", "bob")
	if n := w.fake.Count(routeMember); n != 2 {
		t.Errorf("members were asked for %d times, want once for each", n)
	}

	// What comes with a click is newer than what is remembered.
	_, id := posted(t, b, w)
	w.fake.AddUser(discordtest.User{ID: userOf(0), Username: "jane", GlobalName: "Jane Doe", Nick: "Foxy"})
	w.opens(0, id)
	before := w.fake.Count(routeMember)
	check(0, "Foxy", "Jane Doe", "jane")
	if n := w.fake.Count(routeMember) - before; n != 0 {
		t.Errorf("asked %d times although the click told", n)
	}

	// What cannot be found out is an error, and asked again.
	for name, f := range map[string]discordtest.Fault{
		"ServerError": {Kind: discordtest.ServerError}, "Drop": {Kind: discordtest.DropConnection}, "NoAccess": named(50001, 403),
		"LeftTheServer": named(10007, 404), "Unknown": named(10013, 404), "List": {Kind: discordtest.Empty},
	} {
		ahead.advance(61 * time.Second)
		f.Route, f.Times = routeMember, -1 // a read that is dropped is made again by net/http
		w.fake.Fail(f)
		got, err := w.chat.Identify(t.Context(), w.Actor(0))
		w.fake.ClearFaults()
		if err == nil {
			t.Errorf("%s: Identify() = %+v, want an error", name, got)
		}
		check(0, "Foxy", "Jane Doe", "jane")
	}
}

// TestNoIdentifier: an answer that names something else than a message may
// hold our own token, and a message's id is stored. To see it fail, let create
// take any id.
func TestNoIdentifier(t *testing.T) {
	c, err := discord.New(discord.Config{
		BotToken: "a.b.c", ApplicationID: discordtest.ApplicationID, Guild: discordtest.GuildID, HTTP: true, PublicKey: strings.Repeat("ab", 32),
		Log: logger(&adaptertest.Journal{}),
		Transport: roundTrip(func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"id":"Authorization: Bot a.b.c"}`))}, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	place := tickets.Place{Platform: discord.Platform, Channel: "100000000000000001"}
	id, err := c.Post(t.Context(), place, adaptertest.NewBook().Add(1, adaptertest.Request(), place), time.Time{})
	if id != "" || err == nil || tickets.FailureOf(err).Class != tickets.Ambiguous || strings.Contains(err.Error(), "a.b.c") {
		t.Errorf("Post() = %q, %v; want no id, and that it is unclear", id, err)
	}
	err = c.DirectMessage(t.Context(), tickets.Principal{Platform: discord.Platform, Kind: tickets.User, ID: "100000000000000002"}, "x")
	if err == nil || tickets.FailureOf(err).Class != tickets.Unavailable || strings.Contains(err.Error(), "a.b.c") {
		t.Errorf("Tell() = %v, want that Discord is down", err)
	}
}
