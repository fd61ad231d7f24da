package adaptertest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
)

func command(t *testing.T, _ *Book, h Harness) {
	got, err := h.Command(ctx(t), 2, "status")
	if err != nil {
		t.Fatal(err)
	}
	mentions(t, "the answer", got, "You said: status")
	if n := len(h.Cards()); n != 0 {
		t.Errorf("the answer is in the channel")
	}
}

// picture: what is drawn is described, shown to the asker alone, and not instead
// of the words; whether or not the words came in time.
func picture(t *testing.T, b *Book, h Harness) {
	for n := 1; n <= 2; n++ {
		if n == 2 {
			slowly(t, b, h, "report")
			close(b.hold)
			answeredLate(t, h, "You said: report")
		} else if got, err := h.Command(ctx(t), 2, "report"); err != nil || !strings.Contains(got, "You said: report") {
			t.Errorf("Command() = %q, %v", got, err)
		}
		if _, shows := h.Pictures(2); shows {
			eventually(t, "a picture", func() bool { alts, _ := h.Pictures(2); return len(alts) == n })
			alts, _ := h.Pictures(2)
			mentions(t, "the description", alts[n-1], "A grey dot")
		}
	}
	if alts, _ := h.Pictures(1); len(alts) > 0 {
		t.Errorf("somebody else is shown %q", alts)
	}
	if n := len(h.Cards()); n != 0 {
		t.Error("the picture is in the channel")
	}
}

// slowly has person 2 type text, a command whose answer takes until the book's hold
// is closed, and returns when they have been told to wait.
func slowly(t *testing.T, b *Book, h Harness, text string) {
	t.Helper()
	b.hold = make(chan struct{})
	begun, told := time.Now(), make(chan error, 1)
	go func() {
		_, err := h.Command(ctx(t), 2, text)
		told <- err
	}()
	eventually(t, "a word that it takes a moment", func() bool { return h.Waits(2) })
	if took := time.Since(begun); took < time.Second {
		t.Errorf("told to wait after %s, although the answer could still have been in time", took)
	}
	t.Cleanup(func() {
		if err := <-told; err != nil {
			t.Errorf("Command() = %v", err)
		}
	})
}

// answeredLate waits for the answer to slowly's command, which holds want and
// nobody else sees.
func answeredLate(t *testing.T, h Harness, want string) {
	t.Helper()
	eventually(t, "the answer", func() bool {
		notes := h.Notes(2)
		return slices.ContainsFunc(notes, func(said string) bool { return strings.Contains(said, want) })
	})
	if n := h.Notes(1); len(n) > 0 {
		t.Errorf("somebody else was told %q", n)
	}
	if n := len(h.Cards()); n != 0 {
		t.Error("the answer is in the channel")
	}
}

func slowCommand(t *testing.T, b *Book, h Harness) {
	slowly(t, b, h, "status")
	close(b.hold)
	answeredLate(t, h, "You said: status")
}

func lateAnswerLost(t *testing.T, b *Book, h Harness) {
	slowly(t, b, h, "status")
	h.Fail(OpAnswer, LostRequest)
	close(b.hold)
	answeredLate(t, h, "You said: status")
}

func stopLetsEnd(t *testing.T, b *Book, h Harness) {
	slowly(t, b, h, "status")
	ended := h.Stop()
	select {
	case <-ended:
		t.Error("the chat has ended before the command")
	case <-time.After(100 * time.Millisecond):
	}
	close(b.hold)
	<-ended
	answeredLate(t, h, "You said: status")
}

// opensSettings has person i open the form of the settings. It reports false
// on a platform that has none: the settings are told there.
func opensSettings(t *testing.T, h Harness, i int) bool {
	t.Helper()
	got, err := h.Command(ctx(t), i, "config")
	if err != nil {
		t.Fatal(err)
	}
	if h.Screen(i) == "" {
		mentions(t, "the answer", got, "category: Hardware", "active_states: New, In Progress")
		return false
	}
	mentions(t, "the form", h.Screen(i), "Category", "Auto close", "Active states", "On Hold")
	return true
}

// saves sends the form of person i, in which nothing is wrong.
func saves(t *testing.T, h Harness, i int, values map[string]string) {
	t.Helper()
	if problems, err := h.Configure(ctx(t), i, values); err != nil || len(problems) > 0 {
		t.Fatalf("Configure() = %q, %v", problems, err)
	}
	eventually(t, "saved", func() bool { return strings.Contains(h.Screen(i), "Saved by "+h.Actor(i).ID) })
}

func settingsShown(t *testing.T, b *Book, h Harness) {
	if !opensSettings(t, h, 2) {
		return
	}
	problems, err := h.Configure(ctx(t), 2, map[string]string{"category": "bad", "auto_close": "true"})
	if err != nil {
		t.Fatal(err)
	}
	mentions(t, "the form", strings.Join(problems, "\n"), "This category is bad")
	if b.set("category") != "Hardware" {
		t.Error("saved all the same")
	}
	saves(t, h, 2, map[string]string{"category": "Security"}) // what was chosen is kept
	if b.set("category") != "Security" || b.set("auto_close") != "true" || b.set("active_states") != "New, In Progress" {
		t.Errorf("the settings are %q", b.settings)
	}
	if _, err := h.Command(ctx(t), 2, "config"); err != nil {
		t.Fatal(err)
	}
	saves(t, h, 2, map[string]string{"category": "", "active_states": "On Hold,New"})
	if b.set("category") != "" || b.set("active_states") != "On Hold, New" {
		t.Errorf("the settings are %q", b.settings)
	}
}

func settingsOfOthers(t *testing.T, b *Book, h Harness) {
	if !opensSettings(t, h, 2) {
		return
	}
	opensSettings(t, h, 3)
	saves(t, h, 3, map[string]string{"category": "Security", "auto_close": "true"})
	if _, err := h.Configure(ctx(t), 2, map[string]string{"category": "Network"}); err != nil {
		t.Fatal(err)
	}
	mentions(t, "the form", h.Screen(2), "Somebody else has changed this")
	if b.set("category") != "Security" {
		t.Error("what somebody else had set was overwritten unseen")
	}
	saves(t, h, 2, nil)
	if b.set("category") != "Network" || b.set("auto_close") != "true" {
		t.Errorf("the settings are %q: the second form did not show what the other had set", b.settings)
	}
}

func settingsLate(t *testing.T, b *Book, h Harness) {
	if !opensSettings(t, h, 2) {
		return
	}
	b.hold = make(chan struct{})
	if problems, err := h.Configure(ctx(t), 2, map[string]string{"category": "Network"}); err != nil || len(problems) > 0 {
		t.Fatalf("Configure() = %q, %v", problems, err)
	}
	mentions(t, "the form", h.Screen(2), wording.MsgMoment)
	close(b.hold)
	eventually(t, "saved", func() bool { return strings.Contains(h.Screen(2), "Saved by "+h.Actor(2).ID) })
}

func suggests(t *testing.T, b *Book, h Harness) {
	got, err := h.Complete(ctx(t), 2, "state", "state", "On", map[string]string{"number": "JIT-1042"})
	if errors.Is(err, errors.ErrUnsupported) {
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != adapters.MaxSuggestions || got[0] != "On for "+h.Actor(2).ID+" beside JIT-1042" || got[1] != "state0" {
		t.Errorf("%d suggestions, %q", len(got), got)
	}
	b.mu.Lock()
	b.panic = true
	b.mu.Unlock()
	if got, err := h.Complete(ctx(t), 2, "ticket", "number", "", nil); err != nil || len(got) > 0 {
		t.Errorf("after a panic: %q, %v; want no suggestions", got, err)
	}
	if n := h.Notes(2); len(n) > 0 {
		t.Errorf("whoever typed was told %q", n)
	}
}

// turn presses a button of the page that person 2 has, and waits until they
// have the page that says want, and no other note.
func turn(t *testing.T, h Harness, action adapters.Action, want string) {
	t.Helper()
	if err := h.Turn(ctx(t), 2, action); err != nil {
		t.Fatalf("Turn(%s) = %v", action, err)
	}
	eventually(t, want, func() bool { return strings.Contains(h.Notes(2)[0], want) })
	if all := h.Notes(2); len(all) != 1 {
		t.Errorf("notes %q, want one, which was turned", all)
	}
}

func turnPages(t *testing.T, b *Book, h Harness) {
	got, err := h.Command(ctx(t), 2, "tickets")
	if err != nil {
		t.Fatal(err)
	}
	mentions(t, "the first page", got, "You said: tickets")
	if err := h.Turn(ctx(t), 2, adapters.ActionNewer); err == nil {
		t.Error("the first page has a button to a newer one")
	}
	turn(t, h, adapters.ActionOlder, "You said: tickets 2")
	turn(t, h, adapters.ActionOlder, "You said: tickets 3")
	if err := h.Turn(ctx(t), 2, adapters.ActionOlder); err == nil {
		t.Error("a command that is too long for a button has one")
	}
	turn(t, h, adapters.ActionNewer, "You said: tickets 2")
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, c := range b.commands {
		if c.Actor.ID != h.Actor(2).ID || c.Place != h.Place() || c.FromPager != (i > 0) {
			t.Errorf("command %d is %+v", i, c)
		}
	}
	if n := h.Notes(1); len(n) > 0 {
		t.Errorf("somebody else was told %q", n)
	}
	if n := len(h.Cards()); n != 0 {
		t.Error("a page is in the channel")
	}
}

func turnLate(t *testing.T, b *Book, h Harness) {
	if _, err := h.Command(ctx(t), 2, "tickets"); err != nil {
		t.Fatal(err)
	}
	b.hold = make(chan struct{})
	if err := h.Turn(ctx(t), 2, adapters.ActionOlder); err != nil { // returns once it is acknowledged
		t.Fatal(err)
	}
	close(b.hold)
	eventually(t, "the page", func() bool { return strings.Contains(h.Notes(2)[0], "You said: tickets 2") })
	if all := h.Notes(2); len(all) != 1 {
		t.Errorf("notes %q, want one, which was turned", all)
	}
}

func turnFails(t *testing.T, b *Book, h Harness) {
	if _, err := h.Command(ctx(t), 2, "tickets"); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	b.refuse = "The store is away"
	b.mu.Unlock()
	if err := h.Turn(ctx(t), 2, adapters.ActionOlder); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a word", func() bool { return len(h.Notes(2)) == 2 })
	mentions(t, "the page", h.Notes(2)[0], "You said: tickets")
	mentions(t, "the note", h.Notes(2)[1], "The store is away")
}
