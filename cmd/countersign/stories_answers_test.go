package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/epm/epmtest"
)

var ticketNumber = regexp.MustCompile(`JIT-10[0-9][0-9]`)

// numbersIn are the tickets that a text names, each once.
func numbersIn(text string) string {
	return strings.ReplaceAll(strings.Join(slices.Compact(ticketNumber.FindAllString(text, -1)), " "), "JIT-10", "")
}

// twelve asks for access twelve times, the fifth time with Wireshark, and moves
// the third to On Hold.
func (s *story) twelve() {
	s.Helper()
	for i := range 12 {
		app := epmtest.App{}
		if i == 4 {
			app.Product = "Wireshark"
		}
		if _, err := s.epm.RequestApp(app); err != nil {
			s.Fatal(err)
		}
	}
	s.eventually("twelve tickets", func() bool { return strings.Contains(s.slackSays("U01ANN", "status"), "Waiting for a decision: 12.") })
	s.has("state", s.slackSays("U01ANN", "state JIT-1003 On Hold"), "JIT-1003 is now On Hold")
}

// Anybody lists requests, by state and text, and turns the pages; each person
// sees their own.
func TestStoryTicketsInPages(t *testing.T) {
	t.Parallel()
	s := tell(t, withDiscord, bySocket)
	s.twelve()
	for who, person := range map[string]string{"Admin": "U01ANN", "Approver": "U02BOB", "Stranger": "U09SAM"} {
		t.Run("Slack"+who, func(t *testing.T) {
			p := s.slack.Person(person)
			page := func() slacktest.Ephemeral { all := p.Ephemerals(); return all[len(all)-1] }
			if got := numbersIn(s.slackSays(person, "tickets pending")); got != "12 11 10 09 08 07 06 05 04 03" {
				t.Errorf("the first page is %q", got)
			}
			notes := len(p.Ephemerals())
			turn := func(button, want string) {
				t.Helper()
				if err := p.Click(t.Context(), channel, page().TS, button); err != nil {
					t.Fatalf("%s: %v", button, err)
				}
				s.eventually(button+" shows "+want, func() bool { return numbersIn(page().Text) == want })
			}
			turn("older", "02 01")
			turn("newer", "12 11 10 09 08 07 06 05 04 03")
			if len(p.Ephemerals()) != notes {
				t.Errorf("%d messages, want the page in place of the page", len(p.Ephemerals())-notes)
			}
			for text, want := range map[string]string{"tickets on hold": "03", "tickets wireshark": "05", "tickets On Hold wireshark": "", "tickets final": ""} {
				if got := numbersIn(s.slackSays(person, text)); got != want {
					t.Errorf("/epm %s shows %q, want %q", text, got, want)
				}
			}
		})
	}
	for who, person := range map[string]string{"Admin": discordAnn, "Approver": discordGrace, "Stranger": discordSam} {
		t.Run("Discord"+who, func(t *testing.T) {
			p := s.discord.Person(person)
			a := s.discordCommand(person, "tickets", map[string]string{"state": "pending"})
			turn := func(button, want string) {
				t.Helper()
				_, custom := readDiscord(p.Ephemerals()[len(p.Ephemerals())-1].Components)
				if err := p.ClickEphemeral(t.Context(), a.ID, custom[button]); err != nil {
					t.Fatalf("%s: %v", button, err)
				}
				text, _ := readDiscord(p.Ephemerals()[len(p.Ephemerals())-1].Components)
				if got := numbersIn(text); got != want {
					t.Errorf("%s shows %q, want %q", button, got, want)
				}
			}
			turn("older", "02 01")
			turn("newer", "12 11 10 09 08 07 06 05 04 03")
			if n := len(p.Ephemerals()); n != 1 {
				t.Errorf("%d messages, want the page in place of the page", n)
			}
			if got := numbersIn(s.discordSays(person, "tickets", map[string]string{"state": "On Hold"})); got != "03" {
				t.Errorf("on hold are %q", got)
			}
			if got := numbersIn(s.discordSays(person, "tickets", map[string]string{"text": "wireshark"})); got != "05" {
				t.Errorf("wireshark is in %q", got)
			}
		})
	}
	if cards := s.cards(); slices.ContainsFunc(cards, func(m slacktest.Message) bool { return numbersIn(m.Text) == "02 01" }) {
		t.Error("a page is in the channel")
	}
}

// What somebody types in Discord is completed, for those who may use the word.
func TestStoryCompletion(t *testing.T) {
	t.Parallel()
	s := tell(t, discordByHTTP)
	s.twelve()
	completes := func(person, word, arg, typed string, given map[string]string) string {
		t.Helper()
		list, err := s.discord.Person(person).Autocomplete(t.Context(), discordChannel, "epm "+word, arg, typed, given)
		if err != nil {
			t.Fatal(err)
		}
		var values []string
		for _, c := range list {
			values = append(values, c.Value)
		}
		return strings.Join(values, "|")
	}
	for _, person := range []string{discordAnn, discordGrace, discordSam} {
		if got := completes(person, "ticket", "number", "wire", nil); got != "JIT-1005" {
			t.Errorf("%s is offered %q", person, got)
		}
		if got := completes(person, "tickets", "state", "on", nil); got != "On Hold" {
			t.Errorf("%s is offered %q", person, got)
		}
	}
	move := map[string]string{"number": "JIT-1003"}
	set := map[string]string{"action": "set", "key": "self_approval"}
	if got := completes(discordAnn, "state", "state", "", move); got != "New|In Progress|Resolved|Closed|Cancelled" {
		t.Errorf("the states are %q", got)
	}
	if got := completes(discordAnn, "config", "value", "", set); got != "deny|allow" {
		t.Errorf("the values are %q", got)
	}
	for _, person := range []string{discordGrace, discordSam} {
		if got := completes(person, "state", "state", "", move) + completes(person, "config", "value", "", set); got != "" {
			t.Errorf("%s may not use these words and learns %q", person, got)
		}
	}
}

// configures fills in the open form by key and sends it.
func (s *story) configures(person string, values map[string]string) map[string]string {
	s.Helper()
	p := s.slack.Person(person)
	v, open := p.View()
	if !open {
		s.Fatal("no form is open")
	}
	in := map[string]string{}
	for id := range v.Typed {
		if value, ok := values[strings.Split(id, "@")[0]]; ok {
			in[id] = value
		}
	}
	problems, err := p.Submit(s.Context(), in)
	if err != nil {
		s.Fatal(err)
	}
	byKey := map[string]string{}
	for id, say := range problems {
		byKey[strings.Split(id, "@")[0]] = say
	}
	return byKey
}

// In Slack an admin changes settings in a form, several at once, and sees what
// was changed in Discord meanwhile before it is overwritten.
func TestStoryConfigForm(t *testing.T) {
	for name, transport := range map[string]option{"HTTP": func(*story) {}, "Socket": bySocket} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, withDiscord, transport)
			for _, person := range []string{"U02BOB", "U09SAM"} {
				s.has("config", s.slackSays(person, "config"), wording.MsgNotAdmin)
				if _, open := s.slack.Person(person).View(); open {
					t.Errorf("a form opened for %s", person)
				}
			}
			for _, person := range []string{discordGrace, discordSam} {
				s.has("config", s.discordSays(person, "config", nil), wording.MsgNotAdmin)
			}
			ann := s.slack.Person("U01ANN")
			opens := func() {
				t.Helper()
				if say := s.slackSays("U01ANN", "config"); say != "" {
					t.Fatalf("no form: %q", say)
				}
			}
			opens()
			v, _ := ann.View()
			if problems := slacktest.CheckView(onlyView(t, v.Raw)); len(problems) > 0 {
				t.Errorf("Slack refuses the form: %v", problems)
			}
			problems := s.configures("U01ANN", map[string]string{"fields": "user, shoes", "category": "Security"})
			if len(problems) != 1 || !strings.Contains(problems["fields"], "Item 2 is not a field") {
				t.Errorf("problems = %v", problems)
			}
			problems = s.configures("U01ANN", map[string]string{"fields": "user, reason", "auto_close": "true", "active_states": "New,On Hold"})
			if len(problems) > 0 {
				t.Errorf("problems = %v", problems)
			}
			s.told("U01ANN", "active_states is now “New, On Hold”")
			s.has("config", s.discordSays(discordAnn, "config", nil), "Settings, version 1.", "category: “Security”", "auto_close: “true”", "fields: “user, reason”")

			// Two at once.
			opens()
			s.has("config set", s.discordSays(discordAnn, "config", map[string]string{"action": "set", "key": "category", "value": "Network"}), "category is now “Network”")
			s.has("config set", s.discordSays(discordAnn, "config", map[string]string{"action": "set", "key": "auto_close", "value": "false"}), "auto_close is now “false”")
			s.configures("U01ANN", map[string]string{"category": "Storage"})
			s.told("U01ANN", "has set this to “Network”")
			s.has("config", s.discordSays(discordAnn, "config", nil), "Settings, version 3.", "category: “Network”")
			s.configures("U01ANN", nil)
			s.told("U01ANN", "category is now “Storage”, it was “Network”.")
			s.has("config", s.discordSays(discordAnn, "config", nil), "Settings, version 4.", "auto_close: “false”")

			// Somebody who is no admin any more.
			opens()
			s.has("config set", s.discordSays(discordAnn, "config", map[string]string{"action": "set", "key": "admins", "value": "discord:" + discordAnn}), "admins is now")
			s.configures("U01ANN", map[string]string{"category": "mine"})
			s.told("U01ANN", wording.MsgNotAdmin)
			s.has("config", s.discordSays(discordAnn, "config", nil), "Settings, version 5.", "category: “Storage”")
		})
	}
}

// onlyView is a view as it was sent, without what Slack adds to it.
func onlyView(t *testing.T, raw []byte) []byte {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	out := map[string]any{}
	for _, key := range []string{"type", "title", "submit", "close", "blocks", "callback_id", "private_metadata"} {
		out[key] = v[key]
	}
	sent, err := json.Marshal(out)
	if err != nil {
		t.Fatal(err)
	}
	return sent
}

// test-connection takes the time that EPM takes; whoever asked is told so at
// once, and what came of it later. Others are refused without asking EPM.
func TestStoryTestConnectionWhenEPMIsSlow(t *testing.T) {
	for name, transport := range map[string]option{"Gateway": withDiscord, "HTTP": discordByHTTP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, transport, inTime)
			for _, person := range []string{"U02BOB", "U09SAM"} {
				s.has("test-connection", s.slackSays(person, "test-connection"), wording.MsgNotAdmin)
			}
			for _, person := range []string{discordGrace, discordSam} {
				s.has("test-connection", s.discordSays(person, "test-connection", nil), wording.MsgNotAdmin)
			}
			s.epm.Fail(epmtest.Fault{On: epmtest.Read, Kind: epmtest.Late, Delay: 3 * time.Second, Did: true})
			if say := s.slackSays("U01ANN", "test-connection"); say != wording.MsgMoment {
				t.Errorf("told %q, want that it takes a moment", say)
			}
			s.told("U01ANN", "Connection OK")
			if n := len(s.slack.Person("U01ANN").Ephemerals()); n != 2 {
				t.Errorf("told %d times, want twice", n)
			}
			begun := time.Now()
			s.has("test-connection", s.discordSays(discordAnn, "test-connection", nil), "Connection OK")
			if took := time.Since(begun); took < 3*time.Second {
				t.Errorf("answered after %s: EPM is not that fast", took)
			}
			for _, person := range []string{"U02BOB", "U09SAM"} {
				if all := s.slack.Person(person).Ephemerals(); len(all) != 1 {
					t.Errorf("%s was told %d things", person, len(all))
				}
			}
		})
	}
}
