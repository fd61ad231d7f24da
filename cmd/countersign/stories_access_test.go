package main

import (
	"html"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
)

// TestStoryWhoMayRead: in a channel in which no requests are shown, strangers
// read none, by no word, suggestion or old button; approvers and admins do.
// In Slack whoever is a member where they are shown reads anywhere.
func TestStoryWhoMayRead(t *testing.T) {
	t.Parallel()
	const lunch, discordLunch = "C0LUNCH", "1200000000000000077"
	s := tell(t, withDiscord, func(s *story) {
		s.slack.AddUser(slacktest.User{ID: "U08EVE", Name: "eve", Email: "eve@example.com"})
		s.slack.AddChannel(slacktest.Channel{ID: lunch, Name: "lunch", Members: []string{slacktest.BotUserID, "U01ANN", "U02BOB", "U08EVE", "U09SAM"}})
		s.discord.AddChannel(discordtest.Channel{ID: discordLunch, Name: "lunch"})
	})
	s.requested()
	s.discordShows("waiting for a decision")
	s.quiet()
	words := map[string]map[string]string{
		"status": nil, "tickets": nil, "tickets pending": {"state": "pending"}, "ticket JIT-1001": {"number": "JIT-1001"},
	}
	for text, options := range words {
		for _, p := range []struct {
			slack, discord string
			reads          bool
		}{
			{slack: "U01ANN", discord: discordAnn, reads: true},
			{slack: "U02BOB", discord: discordGrace, reads: true},
			{slack: "U09SAM", reads: true}, // a member of the channel for requests
			{slack: "U08EVE", discord: discordSam},
		} {
			a, err := s.slack.Person(p.slack).CommandIn(s.Context(), lunch, "/epm", text)
			if err != nil {
				t.Fatal(err)
			}
			if got := html.UnescapeString(a.Text); (got != wording.MsgNotReader) != p.reads {
				t.Errorf("/epm %s by %s in Slack is answered %q; reads: %v", text, p.slack, got, p.reads)
			}
			if p.discord == "" {
				continue
			}
			word, _, _ := strings.Cut(text, " ")
			s.discordCommand(discordAnn, "help", nil) // it is registered
			e, err := s.discord.Person(p.discord).Command(s.Context(), discordLunch, word, options)
			if err != nil {
				t.Fatal(err)
			}
			if got, _ := readDiscord(e.Components); (got != wording.MsgNotReader) != p.reads {
				t.Errorf("/epm %s by %s in Discord is answered %q; reads: %v", text, p.discord, got, p.reads)
			}
		}
	}
	for person, reads := range map[string]bool{discordAnn: true, discordGrace: true, discordSam: false} {
		choices, err := s.discord.Person(person).Autocomplete(s.Context(), discordLunch, "epm ticket", "number", "", nil)
		if err != nil {
			t.Fatal(err)
		}
		if (len(choices) > 0) != reads {
			t.Errorf("%s is suggested %v; reads: %v", person, choices, reads)
		}
	}
	for _, word := range []string{"help", "roles"} {
		if got := s.asks(slack.Platform, "U08EVE", word, wordRow{}); got == wording.MsgNotReader {
			t.Errorf("/epm %s is refused", word)
		}
	}
}
