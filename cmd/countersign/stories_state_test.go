package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// menuIn is what the menu on the card in a chat says while it is closed, and
// offers.
func (s *story) menuIn(on tickets.Platform) string {
	raw := s.cards()[0].Blocks
	if on == discord.Platform {
		raw = s.discord.Messages(discordChannel)[0].Components
	}
	var found []string
	eachObject(raw, func(o map[string]any) {
		if o["type"] != "static_select" && o["type"] != float64(3) {
			return
		}
		closed, _ := o["placeholder"].(string)
		if text, ok := o["placeholder"].(map[string]any); ok {
			closed, _ = text["text"].(string)
		}
		found = append(found, closed)
		for _, option := range o["options"].([]any) {
			found = append(found, strings.TrimPrefix(option.(map[string]any)["value"].(string), "CHG-1001 "))
		}
	}, "components", "elements")
	return strings.Join(found, ", ")
}

// menuSays waits until both cards are in a state, with these buttons.
func (s *story) menuSays(state string, decidable bool) {
	s.Helper()
	other := []string{"New", "Assess", "Authorize", "Scheduled", "Implement", "Review", "Closed", "Cancelled"}
	want := "State: " + state + ", " + strings.Join(slices.DeleteFunc(other, func(o string) bool { return o == state }), ", ")
	for _, on := range []tickets.Platform{slack.Platform, discord.Platform} {
		s.eventually(fmt.Sprintf("the card in %s is %s, to be decided: %v", on, state, decidable), func() bool {
			has := buttons(s.cards()[0])
			if on == discord.Platform {
				has = s.discordCards()[0].custom["approve"] != ""
			}
			return s.menuIn(on) == want && has == decidable
		})
	}
}

// choosesIn has somebody choose a state from the card's menu, or send what a
// menu never offered.
func (s *story) choosesIn(on tickets.Platform, person, state string, offered bool) {
	s.Helper()
	var err error
	switch ctx := s.Context(); {
	case on == slack.Platform && offered:
		err = s.slack.Person(person).Choose(ctx, channel, s.cards()[0].TS, "state", "CHG-1001 "+state)
	case on == slack.Platform:
		err = s.slack.Person(person).ClickRaw(ctx, slacktest.RawClick{Channel: channel, TS: s.cards()[0].TS, ActionID: "state", BlockID: actionsOf(s.cards()[0]), Type: "static_select", Value: "CHG-1001 " + state})
	case offered:
		err = s.discord.Person(person).Select(ctx, discordChannel, s.discordCards()[0].id, s.discordCards()[0].custom["state"], state)
	default:
		err = s.discord.Person(person).SelectRaw(ctx, discordChannel, s.discordCards()[0].id, s.discordCards()[0].custom["state"], state)
	}
	if err != nil {
		s.Fatalf("%s chooses %s in %s: %v", person, state, on, err)
	}
}

// toldIn is all that somebody alone was told in a chat.
func (s *story) toldIn(on tickets.Platform, person string) string {
	if on == discord.Platform {
		return s.discordTold(person)
	}
	var all []string
	for _, e := range s.slack.Person(person).Ephemerals() {
		all = append(all, e.Text)
	}
	return strings.Join(all, "\n")
}

// TestStoryMenu: an admin moves a ticket by the menu on its card, in either
// chat and over each way in; the buttons go and come back in both. Nobody else
// can, and nothing that a menu never offered is done.
func TestStoryMenu(t *testing.T) {
	for name, options := range map[string][]option{
		"HTTPAndGateway": {withDiscord}, "SocketAndHTTP": {discordByHTTP, bySocket},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, append(options, func(s *story) { s.env.SettingsTicketType = "Change Request" })...)
			r, _ := s.requested()
			s.discordShows("waiting for a decision")
			s.menuSays("New", true)

			for _, p := range wordPeople {
				for _, on := range []tickets.Platform{slack.Platform, discord.Platform} {
					person := p.on[on]
					if p.is != "admin" {
						s.choosesIn(on, person, "Closed", true)
						s.eventually(person+" is refused", func() bool { return s.toldIn(on, person) == wording.MsgNotAdmin })
						continue
					}
					s.choosesIn(on, person, "In Progress", false) // of another type
					s.eventually(person+" is told which there are", func() bool {
						return strings.Contains(s.toldIn(on, person), "There is no such state. Choose one of: New, Assess,")
					})
				}
			}
			s.menuSays("New", true)

			stale := s.discordCards()[0].custom["approve"]
			s.choosesIn(slack.Platform, "U01ANN", "Review", true)
			s.menuSays("Review", false)
			s.shows("no decision can be made in state Review")
			if err := s.discord.Person(discordGrace).ClickRaw(t.Context(), discordChannel, s.discordCards()[0].id, stale); err != nil {
				t.Fatal(err)
			}
			if told := s.discordTold(discordGrace); !strings.Contains(told, tickets.MsgInactive) {
				t.Errorf("whoever still clicks is told %q", told)
			}
			s.choosesIn(discord.Platform, discordAnn, "Implement", true)
			s.menuSays("Implement", true)
			for where, replies := range map[string]func() string{"Slack": s.replies, "Discord": s.discordReplies} {
				s.eventually("the thread in "+where+" says who", func() bool {
					told := replies()
					return strings.Contains(told, "State moved to Review by") && strings.Contains(told, "State moved to Implement by")
				})
			}

			// What is decided stays so, and is closed by whoever has done the rest.
			s.decide("U02BOB", "approve", hours2)
			s.inEffect(r.ID, "Approved", "7200")
			s.confirmed(r.ID)
			s.shows("Confirmed by EPM: approved for 2 hours")
			s.menuSays("Implement", false)
			s.choosesIn(discord.Platform, discordAnn, "Closed", true)
			s.menuSays("Closed", false)
			s.shows("Confirmed by EPM: approved for 2 hours")
			s.inEffect(r.ID, "Approved", "7200")
			if told := s.toldIn(discord.Platform, discordAnn); strings.Contains(told, "\n") {
				t.Errorf("whoever moves it is told %q: the card tells", told)
			}
		})
	}
}
