package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters/adaptertest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/epm/epmtest"
)

// homeOf is what somebody's home tab in Slack says, and which buttons it has,
// like "approve JIT-1001".
func (s *story) homeOf(person string) (says, buttons string) {
	v, ok := s.slack.Person(person).Home()
	if !ok {
		return "", ""
	}
	var said, pressed []string
	eachObject(v.Blocks, func(o map[string]any) {
		if text, ok := o["text"].(string); ok {
			said = append(said, text)
		}
		if o["type"] == "button" {
			pressed = append(pressed, o["action_id"].(string)+" "+o["value"].(string))
		}
	}, "text", "elements")
	return strings.Join(said, "\n"), strings.Join(pressed, ", ")
}

// opensHome has somebody open their home tab, and waits until it says want.
func (s *story) opensHome(person, want string) (says, buttons string) {
	s.Helper()
	if err := s.slack.Person(person).OpenHome(s.Context()); err != nil {
		s.Fatal(err)
	}
	return s.homeSays(person, want)
}

func (s *story) homeSays(person, want string) (says, buttons string) {
	s.Helper()
	s.eventually(person+"'s home says "+want, func() bool {
		says, buttons = s.homeOf(person)
		return strings.Contains(says, want)
	})
	return says, buttons
}

func (s *story) clicksHome(person, button, number string) {
	s.Helper()
	if err := s.slack.Person(person).ActHome(s.Context(), button, number); err != nil {
		s.Fatalf("%s clicks %s of %s on the home tab: %v", person, button, number, err)
	}
}

// TestStoryHome: an approver finds in one place what waits for them, and
// decides it there; an admin finds how everything is; nobody else finds more
// than a sentence.
func TestStoryHome(t *testing.T) {
	for name, options := range map[string][]option{"HTTP": {withDiscord}, "Socket": {withDiscord, bySocket}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, options...)
			hostile := adaptertest.Hostile()
			var asked []*epmtest.Request
			for _, app := range []epmtest.App{
				{User: "bob@example.com", Reason: "my own"}, {}, {User: hostile.User, Product: hostile.Product, Reason: hostile.Reason, CmdLine: hostile.Command},
			} {
				r, err := s.epm.RequestApp(app)
				if err != nil {
					t.Fatal(err)
				}
				asked = append(asked, r)
			}
			s.eventually("all are shown", func() bool { return len(s.cards()) == 3 && len(s.discordCards()) == 3 })

			// By group, by name and by name for her own.
			const all = "approve JIT-1001, deny JIT-1001, details JIT-1001, approve JIT-1002, deny JIT-1002, details JIT-1002, approve JIT-1003, deny JIT-1003, details JIT-1003"
			if _, buttons := s.opensHome("U03GRACE", wording.MsgQueue(3)); buttons != all {
				t.Errorf("Grace has %s", buttons)
			}
			says, buttons := s.opensHome("U02BOB", wording.MsgQueue(3))
			if buttons != strings.TrimPrefix(all, "approve JIT-1001, deny JIT-1001, ") || !strings.Contains(says, wording.MsgOwnRequest) {
				t.Errorf("Bob has %s, and reads\n%s", buttons, says)
			}
			if strings.Contains(says, "Every connection works") {
				t.Errorf("who is no admin reads\n%s", says)
			}
			if says, buttons := s.opensHome("U09SAM", wording.MsgNoQueue); buttons != "" || strings.Contains(says, "JIT-") || strings.Contains(says, "connection") {
				t.Errorf("Sam has %s, and reads\n%s", buttons, says)
			}
			s.opensHome("U01ANN", "Waiting for a decision: 3.")
			s.opensHome("U01ANN", "Every connection works.")
			for _, person := range []string{"U01ANN", "U02BOB", "U03GRACE", "U09SAM"} {
				v, _ := s.slack.Person(person).Home()
				if wrong := slacktest.CheckView(json.RawMessage(`{"type":"home","blocks":` + string(v.Blocks) + `}`)); len(wrong) > 0 {
					t.Errorf("%s: %q", person, wrong)
				}
				if bytes.Contains(v.Blocks, []byte("\u202e")) {
					t.Errorf("%s: the requester turns text around", person)
				}
				if bytes.Contains(v.Blocks, []byte("Micros\u043eft")) {
					t.Errorf("%s: a word that looks like another is not marked", person)
				}
			}

			// What is decided here goes away here, and everywhere.
			s.clicksHome("U02BOB", "details", "JIT-1002")
			s.told("U02BOB", "JIT-1002")
			s.clicksHome("U02BOB", "approve", "JIT-1002")
			s.eventually("the form", func() bool {
				v, open := s.slack.Person("U02BOB").View()
				return open && v.CallbackID == "approve"
			})
			if problems := s.submits("U02BOB", map[string]string{"reason": "ok", "unit": "hours", "amount": "99"}); problems["amount"] == "" {
				t.Fatalf("99 hours: problems = %v", problems)
			}
			if problems := s.submits("U02BOB", map[string]string{"amount": "2"}); len(problems) > 0 {
				t.Fatalf("2 hours: problems = %v", problems)
			}
			s.inEffect(asked[1].ID, "Approved", "7200")
			says, _ = s.homeSays("U02BOB", wording.MsgQueue(2))
			if strings.Contains(says, "JIT-1002") {
				t.Errorf("what is decided still waits:\n%s", says)
			}
			s.eventually("both cards follow", func() bool {
				return !buttonsOf(s, "JIT-1002") && strings.Contains(s.discordCards()[1].text, "submitted to EPM")
			})

			// Grace has not looked since: the first is gone for her when she tries.
			s.clicksHome("U03GRACE", "deny", "JIT-1002")
			s.told("U03GRACE", "bob has already approved this request in Slack")
			s.homeSays("U03GRACE", wording.MsgQueue(2))
			if n := s.epm.TimesInEffect(asked[1].ID); n != 1 {
				t.Errorf("%d decisions took effect", n)
			}

			// Whoever still has a button for their own request is refused.
			if err := s.slack.Person("U02BOB").ActHome(t.Context(), "approve", "JIT-1001"); err == nil {
				t.Error("Bob was offered his own request")
			}
		})
	}
}

// buttonsOf reports whether the card of a ticket in Slack can be decided.
func buttonsOf(s *story, number string) bool {
	for _, c := range s.cards() {
		if strings.Contains(c.Text, number) {
			return buttons(c)
		}
	}
	return false
}

// TestStoryHomeOfABrokenWorld: an admin reads there what does not work.
func TestStoryHomeOfABrokenWorld(t *testing.T) {
	t.Parallel()
	s := tell(t)
	s.requested()
	s.epm.SetDown(true)
	s.decide("U02BOB", "approve", hours2)
	s.shows("trying until it does")
	if says, _ := s.opensHome("U01ANN", "On their way to EPM: 1."); !strings.Contains(says, wording.MsgNothingWaits) {
		t.Errorf("Ann reads\n%s", says)
	}
	s.slack.Archive(channel, true)
	if _, err := s.epm.RequestApp(epmtest.App{}); err != nil {
		t.Fatal(err)
	}
	s.eventually("the channel that is out of use", func() bool {
		says, _ := s.opensHome("U01ANN", "How Countersign is")
		return strings.Contains(says, "Out of use since") && strings.Contains(says, wording.MsgQueue(1))
	})
}
