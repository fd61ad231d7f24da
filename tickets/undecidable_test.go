package tickets

import (
	"testing"
	"time"
)

// TestUndecidable: a ticket says whether anybody can decide it, as the settings
// are when something happens to it or they are changed.
func TestUndecidable(t *testing.T) {
	typ := Types()[0]
	usual := Rules{Type: typ, Active: typ.Active, OwnRefused: true}
	nobody, own := usual, usual
	nobody.NoApprovers, own.OwnRefused = true, false
	known := Request{ID: "r", Kind: Application, User: `ACME\ann`}
	for name, c := range map[string]struct {
		user  string
		rules Rules
		want  Undecidable
	}{
		"Known":            {`ACME\ann`, usual, ""},
		"NoApprovers":      {`ACME\ann`, nobody, NoApprovers},
		"Empty":            {"", usual, UnknownAsker},
		"Blank":            {" \u200b ", usual, UnknownAsker},
		"SID":              {"S-1-5-21-1-2-3-1001", usual, UnknownAsker},
		"EmptyAndNobody":   {"", nobody, NoApprovers},
		"EmptyOwnAllowed":  {"", own, ""},
		"NobodyOwnAllowed": {"", Rules{Type: typ, Active: typ.Active, NoApprovers: true}, NoApprovers},
	} {
		tk, now := Start("JIT-1001", "r", c.rules, time.Now()), time.Now()
		r := known
		r.User = c.user
		if tk.Ask(r, c.rules, now); tk.Undecidable != c.want || tk.Open() != (c.want == "") || !tk.Follows(c.rules) {
			t.Errorf("%s: undecidable is %q, want %q", name, tk.Undecidable, c.want)
		}
		// The settings change, and change back: the card has to follow.
		for _, to := range []Rules{nobody, usual, own, c.rules} {
			follows, rev := tk.Follows(to), tk.Rev
			if moved := tk.Move(tk.State, Actor{}, to, now); moved == follows || moved != (tk.Rev > rev) || !tk.Follows(to) {
				t.Errorf("%s: Move() = %v, it followed: %v, rev %d after %d", name, moved, follows, tk.Rev, rev)
			}
		}
		if tk.Undecidable != c.want {
			t.Errorf("%s: undecidable is %q in the end, want %q", name, tk.Undecidable, c.want)
		}
	}
	listed := known
	listed.User, listed.Listed = "", true
	tk, now := Start("JIT-1001", "r", usual, time.Now()), time.Now()
	tk.Ask(listed, usual, now)
	if tk.Undecidable != UnknownAsker || !tk.complete(known, Source{}, usual, now) || tk.Undecidable != "" {
		t.Errorf("after its webhook came it is %q", tk.Undecidable)
	}
}
