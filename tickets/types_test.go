package tickets_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/tickets"
)

func TestParseTypes(t *testing.T) {
	got, err := tickets.ParseTypes([]byte(`[
		{"name": "Emergency Access", "prefix": "EMG", "states": ["New", "In Progress", "Done"], "active": ["New"], "closed": "Done"},
		{"name": "Break Glass", "prefix": "BG2", "states": ["Open", "Shut"], "closed": "Shut"},
		{"name": "Triage", "prefix": "TRI", "states": ["New", "Review", "Done"], "active": ["Review"], "closed": "Done"}
	]`))
	if err != nil || len(got) != 3 || !slices.Equal(got[2].Active, []tickets.State{"Review"}) || got[0].Prefix != "EMG" || !slices.Equal(got[0].Active, []tickets.State{"New"}) ||
		!slices.Equal(got[1].Active, []tickets.State{"Open"}) || got[1].Closed != "Shut" {
		t.Errorf("ParseTypes = %+v, %v", got, err)
	}
	one := func(change string) string {
		s := `[{"name": "Emergency", "prefix": "EMG", "states": ["New", "Done"], "active": ["New"], "closed": "Done"}]`
		from, to, _ := strings.Cut(change, " → ")
		if !strings.Contains(s, from) {
			t.Fatalf("%s is not in it", from)
		}
		return strings.Replace(s, from, to, 1)
	}
	for text, want := range map[string]string{
		`{}`:                                                 "write a JSON list",
		one(`"closed" → "ends"`):                             "unknown field",
		one(`"Emergency" → " "`):                             "give it a name",
		one(`EMG → emg`):                                     "its prefix begins its numbers",
		one(`["New", "Done"] → []`):                          "give it 1 to 25 states",
		one(`"closed": "Done" → "closed": ""`):               "closed must be one of its states",
		one(`"active": ["New"] → "active": []`):              "give it an active state",
		one(`"closed": "Done" → "closed": "New"`):            "its first state, which must not be the closed one",
		one(`["New", "Done"] → ["New", "new", "Done"]`):      "state 2 is there twice",
		one(`["New", "Done"] → ["New", "On, hold", "Done"]`): "state 2 must be a word or two",
		one(`"active": ["New"] → "active": ["New", "Held"]`): "active state 2 is not one of its states",
		one(`"Emergency" → "incident"`):                      "there",
		one(`EMG → JIT`):                                     "there",
	} {
		if got, err := tickets.ParseTypes([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseTypes(%s) = %+v, %v; want an error with %q", text, got, err, want)
		}
	}
}
