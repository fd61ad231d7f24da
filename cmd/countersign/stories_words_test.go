package main

import (
	"fmt"
	"html"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// wordRow is something that people type after /epm, and what they are told.
type wordRow struct {
	text    string            // behind the word, as in Slack
	options map[string]string // the same in Discord
	says    string            // what is in the answer to an admin and, unless the word is theirs alone, to everybody
	// roles is what approvers and strangers are told instead, if that depends
	// on what they are.
	roles map[string]string
}

// wordRows has what is tried of each word. A word without a row fails the
// story.
var wordRows = map[string][]wordRow{
	"help":   {{says: "What I understand:\n/epm help"}},
	"status": {{says: "Waiting for a decision: 1."}},
	"tickets": {
		{says: "JIT-1001 · an application for"},
		{text: "final", options: map[string]string{"state": "final"}, says: "There are none."},
	},
	"ticket": {
		{text: "JIT-1001", options: map[string]string{"number": "JIT-1001"}, says: "State: New\n"},
		{text: "JIT-7", options: map[string]string{"number": "JIT-7"}, says: "There is no ticket JIT-7"},
	},
	"state": {{text: "JIT-1001 in progress", options: map[string]string{"number": "JIT-1001", "state": "in progress"}, says: "JIT-1001 is now In Progress."}},
	"config": {
		// Without a word more Slack opens a form: TestStoryConfigForm.
		{text: "list", options: map[string]string{"action": "list"}, says: "Settings, version 0."},
		{text: "set active_states Nowhere", options: map[string]string{"action": "set", "key": "active_states", "value": "Nowhere"}, says: "item 1 is not a state of Access Request"},
		{text: "reset", options: map[string]string{"action": "reset"}, says: "Nothing to change: every setting is as the program was started with."},
		{text: "reset yes", options: map[string]string{"action": "reset", "value": "yes"}, says: "Nothing to change: every setting is as the program was started with."},
		{text: "reset category", options: map[string]string{"action": "reset", "key": "category"}, says: "Nothing to change: category is as the program was started with."},
	},
	"incoming": {
		{says: "created"},
		{text: "failed", options: map[string]string{"action": "failed"}, says: "There are none."},
		{text: "replay 12345678", options: map[string]string{"action": "replay", "id": "12345678"}, says: "No webhook has this ID"},
	},
	"report": {
		{says: "UTC: 1.\nApproved: 0. Denied: 0. Undecided: 1.\nBy day from "},
		{text: "52w", options: map[string]string{"span": "52w"}, says: "\nBy 4 weeks from "},
		{text: "soon", options: map[string]string{"span": "soon"}, says: "“soon” is no span of time: write hours, days or weeks"},
	},
	"test-connection": {{says: "Connection OK"}},
	"roles": {{
		says: "You are an admin.\nYou are an approver.\nApprovers, in Discord:\n",
		roles: map[string]string{
			"approver": "You are not an admin.\nYou are an approver.",
			"stranger": "You are not an admin.\nYou are not an approver.",
		},
	}},
}

// adminWords are those that are refused to others.
var adminWords = []string{"state", "config", "incoming", "report", "test-connection"}

// wordPeople are the same three on each platform.
var wordPeople = []struct {
	is string
	on map[tickets.Platform]string
}{
	{"admin", map[tickets.Platform]string{slack.Platform: "U01ANN", discord.Platform: discordAnn}},
	{"approver", map[tickets.Platform]string{slack.Platform: "U02BOB", discord.Platform: discordGrace}},
	{"stranger", map[tickets.Platform]string{slack.Platform: "U09SAM", discord.Platform: discordSam}},
}

// spans are how long something took or waits, and what time it is, which
// differ between two who ask.
var spans = regexp.MustCompile(`[0-9.]+(ms|s|m)\b|\b[0-9]{2}:[0-9]{2}\b`)

// TestStoryEveryWord: each word, on each platform, by an admin, an approver
// and a stranger, is answered in time, to the asker alone and in the same
// words; what is for admins is refused to others with one sentence.
func TestStoryEveryWord(t *testing.T) {
	t.Parallel()
	s := tell(t, withDiscord)
	s.requested()
	s.discordShows("waiting for a decision")
	s.quiet() // status tells what waits
	s.eventually("compared with EPM's lists, which status tells too", func() bool {
		return !strings.Contains(s.asks(slack.Platform, "U01ANN", "status", wordRow{}), "not yet")
	})
	for _, w := range wording.Commands() {
		if len(wordRows[w.Name]) == 0 {
			t.Errorf("nobody tries /epm %s: write a row for it", w.Name)
		}
		for _, row := range wordRows[w.Name] {
			for _, p := range wordPeople {
				name := strings.TrimSpace(w.Name + " " + row.text)
				want := row.says
				switch told, depends := row.roles[p.is]; {
				case slices.Contains(adminWords, w.Name) && p.is != "admin":
					want = wording.MsgNotAdmin
				case depends:
					want = told
				}
				var answers []string
				for _, on := range []tickets.Platform{slack.Platform, discord.Platform} {
					got := s.asks(on, p.on[on], w.Name, row)
					who := fmt.Sprintf("/epm %s by the %s in %s", name, p.is, wording.PlatformName(on))
					exact := want == wording.MsgNotAdmin || row.roles[p.is] != ""
					if exact && got != want || !strings.Contains(got, want) {
						t.Errorf("%s is answered %q, want %q", who, got, want)
					}
					answers = append(answers, got)
				}
				if answers[0] != answers[1] {
					t.Errorf("/epm %s by the %s is answered in Slack\n%s\nand in Discord\n%s", name, p.is, answers[0], answers[1])
				}
			}
		}
	}
	for name := range wordRows {
		if !slices.ContainsFunc(wording.Commands(), func(w adapters.CommandSpec) bool { return w.Name == name }) {
			t.Errorf("there is no word %s any more: take its rows out", name)
		}
	}
}

// asks types a row, and returns the answer without its platform's escapes and
// without spans of time. It fails if anybody else sees anything.
func (s *story) asks(on tickets.Platform, person, word string, row wordRow) string {
	s.Helper()
	messages := len(s.cards()) + len(s.discordCards())
	var text string
	if on == slack.Platform {
		a, err := s.slack.Person(person).CommandIn(s.Context(), channel, "/epm", strings.TrimSpace(word+" "+row.text))
		if err != nil {
			s.Fatal(err)
		}
		if a.ResponseType != "ephemeral" {
			s.Errorf("the answer to /epm %s is %s, want ephemeral", word, a.ResponseType)
		}
		text = html.UnescapeString(a.Text)
	} else {
		a := s.discordCommand(person, word, row.options)
		if a.Flags&discordtest.FlagEphemeral == 0 || a.User != person {
			s.Errorf("the answer to /epm %s has flags %b for %s, want it for %s alone", word, a.Flags, a.User, person)
		}
		text, _ = readDiscord(a.Components)
	}
	if now := len(s.cards()) + len(s.discordCards()); now != messages {
		s.Errorf("/epm %s shows something to everybody", word)
	}
	return spans.ReplaceAllString(strings.TrimSpace(text), "T")
}
