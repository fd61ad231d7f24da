package commands

import "testing"

// A word that is not known to change nothing is claimed before it does anything.
func TestUnknownWordsAreClaimed(t *testing.T) {
	for _, c := range [][]string{{"some-new-word"}, {"state"}, {"ticket", "JIT-1001", "accept-damaged", "yes"}, {"config", "SET", "category", "x"}, {"config", "reset", "yes"}, {"config", "reset", "category"}, {"config", "new"}, {"incoming", "Replay", "x"}} {
		if reads(c[0], c[1:]) {
			t.Errorf("%q is taken for words that change nothing", c)
		}
	}
}
