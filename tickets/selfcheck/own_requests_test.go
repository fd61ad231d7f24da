package selfcheck

import (
	"os"
	"strings"
	"testing"
)

// TestOwnRequests: second accounts, initials, short and cut-off logins are
// perhaps the approver's own; others, and a first name alone, are not.
func TestOwnRequests(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile("testdata/own-requests.tsv")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]SelfMatch{"yes": SelfMatchYes, "maybe": SelfMatchMaybe, "no": SelfMatchNo}
	rows := 0
	for line := range strings.Lines(string(table)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		col := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(col) != 4 || want[col[3]] == "" {
			t.Fatalf("row %q is not account, address, name and yes, maybe or no", line)
		}
		rows++
		if got := Compare([]string{col[0]}, Identity{Emails: []string{col[1]}, Names: []string{col[2]}}); got.SelfMatch != want[col[3]] {
			t.Errorf("%s, by %s (%s): %s, want %s", col[0], col[2], col[1], got.SelfMatch, want[col[3]])
		}
	}
	if rows < 200 {
		t.Errorf("the table has %d rows, want 200", rows)
	}
}
