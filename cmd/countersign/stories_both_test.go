package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/discord"
	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/discord/discordtest/spec"
	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/tickets"
)

const (
	discordChannel = "1200000000000000001"
	discordRole    = "1200000000000000002"
	discordAnn     = "1300000000000000001" // an approver by name, and admin
	discordGrace   = "1300000000000000002" // an approver by her role
	discordSam     = "1300000000000000003" // a stranger
)

// withDiscord has the program speak Discord too, over the gateway.
func withDiscord(s *story) {
	s.Helper()
	check, err := spec.New()
	if err != nil {
		s.Fatal(err)
	}
	fake, err := discordtest.New(discordtest.Config{AckWait: hang, Check: func(x discordtest.Exchange) []string {
		return check.Exchange(x.Method, x.Path, x.Header, x.Body, x.Status, x.AnswerHeader, x.Answer)
	}})
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(fake.Close)
	fake.AddRole(discordtest.Role{ID: discordRole, Name: "helpdesk"})
	fake.AddUser(discordtest.User{ID: discordAnn, Username: "ann", Nick: "Ann of Discord"})
	fake.AddUser(discordtest.User{ID: discordGrace, Username: "grace", Roles: []string{discordRole}})
	fake.AddUser(discordtest.User{ID: discordSam, Username: "sam"})
	fake.AddChannel(discordtest.Channel{ID: discordChannel, Name: "epm-requests"})
	s.discord = fake
	s.env.DiscordBotToken, s.env.DiscordApplicationID = discordtest.BotToken, discordtest.ApplicationID
	s.env.DiscordGuild, s.env.DiscordChannel = discordtest.GuildID, discordChannel
	s.env.DiscordMode, s.env.DiscordAPIURL = "gateway", fake.URL()
	s.env.Approvers += ", discord:" + discordAnn + ", discord:role:" + discordRole
	s.env.Admins += ", discord:" + discordAnn
	s.discordPace = discord.Pace{CallsPerSecond: 10_000, OldEdits: 10_000}
	s.gateway = discord.Gateway{First: 10 * time.Millisecond, Last: 200 * time.Millisecond, Start: time.Millisecond}
}

// discordByHTTP has Discord call the program instead.
func discordByHTTP(s *story) {
	withDiscord(s)
	s.env.DiscordMode, s.env.DiscordPublicKey = "http", s.discord.PublicKey()
}

// discordOnly takes Slack away.
func discordOnly(s *story) {
	s.env.SlackBotToken, s.env.SlackSigningSecret, s.env.SlackAppToken, s.env.SlackChannel = "", "", "", ""
	s.env.Approvers, s.env.Admins = "discord:"+discordAnn+", discord:role:"+discordRole, "discord:"+discordAnn
}

// discordCard is a card in Discord as people read it.
type discordCard struct {
	id, text string
	custom   map[string]string // identifiers of its buttons, by action
}

var escaped = regexp.MustCompile(`\\([[:punct:]])`)

// readDiscord collects what can be read, and the buttons.
func readDiscord(components json.RawMessage) (text string, custom map[string]string) {
	var lines []string
	custom = map[string]string{}
	eachObject(components, func(o map[string]any) {
		if s, ok := o["content"].(string); ok {
			lines = append(lines, escaped.ReplaceAllString(s, "$1"))
		}
		if id, ok := o["custom_id"].(string); ok {
			action, _, _ := strings.Cut(id, ":")
			custom[action] = id
		}
	}, "components", "component")
	return strings.Join(lines, "\n"), custom
}

// eachObject visits the objects of raw, outer ones first, and what they hold
// under these keys. Of what is no JSON it visits nothing.
func eachObject(raw json.RawMessage, visit func(map[string]any), keys ...string) {
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, x := range v {
				walk(x)
			}
		case map[string]any:
			visit(v)
			for _, k := range keys {
				walk(v[k])
			}
		}
	}
	var all any
	if json.Unmarshal(raw, &all) == nil {
		walk(all)
	}
}

func (s *story) discordCards() []discordCard {
	var list []discordCard
	for _, m := range s.discord.Messages(discordChannel) {
		text, custom := readDiscord(m.Components)
		list = append(list, discordCard{m.ID, text, custom})
	}
	return list
}

// discordShows waits until the one card in Discord says all of words.
func (s *story) discordShows(words ...string) discordCard {
	s.Helper()
	var card discordCard
	s.eventually(fmt.Sprintf("a card in Discord with %q", words), func() bool {
		cards := s.discordCards()
		if len(cards) != 1 {
			return false
		}
		card = cards[0]
		for _, w := range words {
			if !strings.Contains(card.text, w) {
				return false
			}
		}
		return true
	})
	return card
}

// discordOpens clicks on the newest card.
func (s *story) discordOpens(person, action string) {
	s.Helper()
	cards := s.discordCards()
	card := cards[len(cards)-1]
	p := s.discord.Person(person)
	if err := p.Click(s.Context(), discordChannel, card.id, card.custom[action]); err != nil {
		s.Fatalf("%s clicks %s: %v", person, action, err)
	}
	if _, open := p.Modal(); !open {
		s.Fatalf("no form opened; told: %q", s.discordTold(person))
	}
}

func (s *story) discordSubmits(person string, values map[string]string) {
	s.Helper()
	if err := s.discord.Person(person).Submit(s.Context(), values); err != nil {
		s.Fatalf("%s submits: %v", person, err)
	}
}

// discordTold is all that only this person sees.
func (s *story) discordTold(person string) string {
	var all []string
	for _, e := range s.discord.Person(person).Ephemerals() {
		text, _ := readDiscord(e.Components)
		all = append(all, text)
	}
	return strings.Join(all, "\n")
}

func (s *story) discordReplies() string {
	var all []string
	for _, card := range s.discord.Messages(discordChannel) {
		for _, m := range s.discord.Messages(card.ID) {
			text, _ := readDiscord(m.Components)
			all = append(all, text)
		}
	}
	return strings.Join(all, "\n")
}

func TestStoryDecideInDiscordFollowInSlack(t *testing.T) {
	for name, transport := range map[string]option{"Gateway": withDiscord, "HTTP": discordByHTTP} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := tell(t, transport)
			r, slackCard := s.requested()
			card := s.discordShows("waiting for a decision")
			if card.custom["approve"] == "" || !buttons(slackCard) {
				t.Fatal("no buttons on a pending card")
			}
			s.discordOpens(discordGrace, "approve")
			s.discordSubmits(discordGrace, hours2)
			s.inEffect(r.ID, "Approved", "7200")
			s.discordShows("submitted to EPM")
			if c := s.shows("Approved by grace (Discord) for 2 hours", "submitted to EPM"); buttons(c) {
				t.Error("buttons on a decided card in Slack")
			}
			s.confirmed(r.ID)
			s.shows("Confirmed by EPM: approved for 2 hours, until", "grace (Discord)")
			if c := s.discordShows("Confirmed by EPM: approved for 2 hours, until", "<@"+discordGrace+">"); c.custom["approve"] != "" {
				t.Error("buttons on a final card in Discord")
			}
			for where, replies := range map[string]func() string{"Slack": s.replies, "Discord": s.discordReplies} {
				s.eventually("the thread in "+where+" tells the steps", func() bool {
					told := replies()
					return strings.Contains(told, "Approved by") && strings.Contains(told, "EPM accepted") && strings.Contains(told, "Confirmed by EPM")
				})
			}
			// Somebody in Slack clicks a card that has not been drawn anew.
			if err := s.slack.Person("U02BOB").ClickRaw(t.Context(), slacktest.RawClick{Channel: channel, TS: slackCard.TS, ActionID: "deny", BlockID: actionsOf(slackCard), Value: "JIT-1001"}); err != nil {
				t.Fatal(err)
			}
			s.told("U02BOB", "grace has already approved this request in Discord, 20")
		})
	}
}

func TestStoryDecideInSlackFollowInDiscord(t *testing.T) {
	t.Parallel()
	s := tell(t, withDiscord)
	r, _ := s.requested()
	stale := s.discordShows("waiting for a decision")
	s.discordOpens(discordAnn, "deny")
	s.decide("U01ANN", "approve", hours2)
	s.inEffect(r.ID, "Approved", "7200")
	if c := s.discordShows("Approved by ann (Slack) for 2 hours", "submitted to EPM"); c.custom["approve"] != "" {
		t.Error("buttons on a decided card in Discord")
	}
	// The form was open before; the buttons are on a screen that is old.
	s.discordSubmits(discordAnn, map[string]string{"reason": "no"})
	if err := s.discord.Person(discordGrace).ClickRaw(t.Context(), discordChannel, stale.id, stale.custom["approve"]); err != nil {
		t.Fatal(err)
	}
	for _, person := range []string{discordAnn, discordGrace} {
		if told := s.discordTold(person); !strings.Contains(told, "ann has already approved this request in Slack, 20") {
			t.Errorf("%s is told %q, want who was faster, where and when", person, told)
		}
	}
	s.confirmed(r.ID)
	s.discordShows("Confirmed by EPM: approved for 2 hours, until")
	s.inEffect(r.ID, "Approved", "7200")
}

func TestStoryDiscordAlone(t *testing.T) {
	t.Parallel()
	s := tell(t, withDiscord, discordOnly)
	r, err := s.epm.RequestAdmin(epmtest.Admin{})
	if err != nil {
		t.Fatal(err)
	}
	card := s.discordShows("administrator", "waiting for a decision")
	sam := s.discord.Person(discordSam)
	if err := sam.Click(t.Context(), discordChannel, card.id, card.custom["approve"]); err != nil {
		t.Fatal(err)
	}
	if told := s.discordTold(discordSam); !strings.Contains(told, wording.MsgNotApprover) {
		t.Errorf("a stranger is told %q", told)
	}
	s.discordOpens(discordGrace, "approve")
	s.discordSubmits(discordGrace, map[string]string{"reason": "needs a driver", "unit": "minutes", "amount": "3"})
	if told := s.discordTold(discordGrace); !strings.Contains(told, tickets.MsgMinutes) || !strings.Contains(told, "needs a driver") {
		t.Fatalf("told %q, want the rule and what was typed", told)
	}
	again := s.discord.Person(discordGrace).Ephemerals()[0]
	if err := s.discord.Person(discordGrace).ClickEphemeral(t.Context(), again.ID, card.custom["approve"]); err != nil {
		t.Fatal(err)
	}
	form, open := s.discord.Person(discordGrace).Modal()
	if !open || form.Typed["reason"] != "needs a driver" || form.Typed["unit"] != "minutes" || form.Typed["amount"] != "3" {
		t.Fatalf("the form opened again with %v", form.Typed)
	}
	s.discordSubmits(discordGrace, map[string]string{"unit": "once", "amount": "45"})
	if told := s.discordTold(discordGrace); !strings.Contains(told, tickets.MsgUnusedAmount) {
		t.Fatalf("told %q, want that the number has no effect", told)
	}
	if err := s.discord.Person(discordGrace).ClickEphemeral(t.Context(), again.ID, card.custom["approve"]); err != nil {
		t.Fatal(err)
	}
	s.discordSubmits(discordGrace, map[string]string{"unit": "minutes", "amount": "30"})
	s.inEffect(r.ID, "Approved", "1800")
	s.confirmed(r.ID)
	s.discordShows("Confirmed by EPM: approved for 30 minutes, until")
	if text := s.discordSays(discordAnn, "status", nil); !strings.Contains(text, "Every connection works.") {
		t.Errorf("/epm status says %q", text)
	}
}

// TestStoryOneChatIsDown: the other works on, and the first catches up.
func TestStoryOneChatIsDown(t *testing.T) {
	t.Run("Slack", func(t *testing.T) {
		t.Parallel()
		s := tell(t, withDiscord)
		s.slack.SetDown(true)
		r, err := s.epm.RequestApp(epmtest.App{})
		if err != nil {
			t.Fatal(err)
		}
		s.discordShows("waiting for a decision")
		s.discordOpens(discordAnn, "approve")
		s.discordSubmits(discordAnn, hours2)
		s.inEffect(r.ID, "Approved", "7200")
		s.discordShows("submitted to EPM")
		s.slack.SetDown(false)
		s.eventually("Slack catches up", func() bool {
			s.skew.Add(int64(time.Second))
			return len(s.cards()) == 1 && strings.Contains(s.cards()[0].Text, "submitted to EPM")
		})
	})
	t.Run("Discord", func(t *testing.T) {
		t.Parallel()
		s := tell(t, withDiscord)
		r, _ := s.requested()
		s.discordShows("waiting for a decision")
		s.discord.SetDown(true)
		s.decide("U01ANN", "approve", hours2)
		s.inEffect(r.ID, "Approved", "7200")
		s.shows("submitted to EPM")
		s.confirmed(r.ID)
		s.shows("Confirmed by EPM")
		s.discord.SetDown(false)
		s.eventually("Discord catches up", func() bool {
			s.skew.Add(int64(time.Second))
			cards := s.discordCards()
			return len(cards) == 1 && strings.Contains(cards[0].text, "Confirmed by EPM: approved for 2 hours") && s.discord.Connections() == 1
		})
	})
}

// TestStoryDiscordChannelIsLost: the ticket is kept and decided elsewhere,
// the admins are told, and the card appears when the channel works again.
func TestStoryDiscordChannelIsLost(t *testing.T) {
	t.Parallel()
	s := tell(t, withDiscord)
	s.discord.SetPermissions(discordChannel, discordtest.ViewChannel)
	r, _ := s.requested()
	told := func(dm string, words string) func() bool {
		return func() bool {
			for _, m := range s.slack.Messages(dm) {
				if strings.Contains(m.Text, words) {
					return true
				}
			}
			return false
		}
	}
	s.eventually("the admin is told in Slack", told(s.slack.DM("U01ANN"), "Countersign cannot use"))
	s.eventually("the admin is told in Discord", func() bool {
		for _, m := range s.discord.Messages(s.discord.DM(discordAnn)) {
			if text, _ := readDiscord(m.Components); strings.Contains(text, "Countersign cannot use") {
				return true
			}
		}
		return false
	})
	s.decide("U01ANN", "approve", hours2)
	s.inEffect(r.ID, "Approved", "7200")
	if n := len(s.discordCards()); n != 0 {
		t.Fatalf("%d cards in a channel where the bot may not send", n)
	}
	s.discord.SetPermissions(discordChannel, discordtest.BotPermissions)
	s.eventually("the card appears", func() bool {
		s.skew.Add(int64(30 * time.Second))
		cards := s.discordCards()
		return len(cards) == 1 && strings.Contains(strings.ToLower(cards[0].text), "approved") && cards[0].custom["approve"] == ""
	})
	if n := s.discord.InvalidRequests(); n > 5 {
		t.Errorf("%d forbidden calls; Discord bans an address that makes many", n)
	}
}

// TestStoryBothAtTheSameInstant: somebody in Slack and somebody in Discord
// send their forms at once, again and again. Each time exactly one decision
// reaches EPM, both cards show that one, and the other person is told.
func TestStoryBothAtTheSameInstant(t *testing.T) {
	const pairs = 8
	s := tell(t, withDiscord, func(s *story) {
		s.pace = slack.Pace{PostsPerSecond: 10_000, PostBurst: 10_000, EditsPerMinute: 600_000, EditBurst: 10_000}
		s.unpaced()
		s.env.LogLevel = "warn"
		for i := range pairs {
			s.env.Approvers += fmt.Sprintf(", slack:%s, discord:%s", slackPerson(i), discordPerson(i))
			s.addPerson(slackPerson(i))
			s.discord.AddUser(discordtest.User{ID: discordPerson(i), Username: fmt.Sprintf("discord%d", i)})
		}
	})
	var inSlack, inDiscord atomic.Int32
	var wg sync.WaitGroup
	for i := range pairs {
		wg.Go(func() {
			for range instants / pairs {
				winner, err := s.race(slackPerson(i), discordPerson(i))
				switch {
				case err != nil:
					t.Error(err)
					return
				case winner == "slack":
					inSlack.Add(1)
				default:
					inDiscord.Add(1)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("first in Slack %d times, in Discord %d times", inSlack.Load(), inDiscord.Load())
	if inSlack.Load() == 0 || inDiscord.Load() == 0 {
		t.Error("one side was always faster: it was no race")
	}
}

// unpaced takes the limits of EPM away, and has it send each webhook once.
func (s *story) unpaced() {
	s.Helper()
	s.epm.Close()
	var err error
	if s.epm, err = epmtest.New(epmtest.Config{ClientID: "client", ClientSecret: "epm-secret-1", RateLimit: -1, Retry: epmtest.Retry{Off: true}}); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(s.epm.Close)
	s.env.EPMHost, s.epmRate = s.epm.URL(), 10_000
}

func slackPerson(i int) string   { return fmt.Sprintf("U1RACER%d", i) }
func discordPerson(i int) string { return fmt.Sprintf("14000000000000000%02d", i) }

// race is one request that two people decide at the same instant: approved in
// Slack, denied in Discord. It returns whose decision EPM got.
func (s *story) race(slackPerson, discordPerson string) (winner string, err error) {
	r := s.epm.RequestAppQuietly(epmtest.App{})
	number := s.delivers(s.epm.Body(epmtest.AppCreated, r, epmtest.BodyOptions{})).Ticket
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: %w", number, err)
		}
	}()
	await := func(what string, ok func() bool) error {
		deadline := time.Now().Add(time.Minute)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for !ok() {
			if time.Now().After(deadline) {
				return errors.New("never: " + what)
			}
			<-tick.C
		}
		return nil
	}
	var slackCard slacktest.Message
	var inDiscord discordCard
	look := func() bool {
		slackCard, inDiscord = slacktest.Message{}, discordCard{}
		for _, m := range s.cards() {
			if strings.Contains(m.Text, number+",") {
				slackCard = m
			}
		}
		for _, c := range s.discordCards() {
			if strings.Contains(c.text, number+",") {
				inDiscord = c
			}
		}
		return slackCard.TS != "" && inDiscord.id != ""
	}
	if err := await("a card in both chats", look); err != nil {
		return "", err
	}
	p, q := s.slack.Person(slackPerson), s.discord.Person(discordPerson)
	if err := errors.Join(p.Click(s.Context(), channel, slackCard.TS, "approve"), q.Click(s.Context(), discordChannel, inDiscord.id, inDiscord.custom["deny"])); err != nil {
		return "", err
	}
	var submitting sync.WaitGroup
	var slackErr, discordErr error
	start := make(chan struct{})
	submitting.Go(func() {
		<-start
		_, slackErr = p.Submit(s.Context(), map[string]string{"reason": "yes", "unit": "once"})
	})
	submitting.Go(func() { <-start; discordErr = q.Submit(s.Context(), map[string]string{"reason": "no"}) })
	close(start)
	submitting.Wait()
	if err := errors.Join(slackErr, discordErr); err != nil {
		return "", err
	}
	err = await("both cards show that EPM has it", func() bool {
		return look() && strings.Contains(slackCard.Text, "submitted to EPM") && strings.Contains(inDiscord.text, "submitted to EPM")
	})
	if err != nil {
		return "", err
	}
	sent := s.epm.Decisions(r.ID)
	if len(sent) != 1 || s.epm.TimesInEffect(r.ID) != 1 {
		return "", fmt.Errorf("%d decisions were sent and %d took effect, want one", len(sent), s.epm.TimesInEffect(r.ID))
	}
	_, asked := p.View() // the one who came second sees why in place of the form
	shown, told, want := "Denied by", asked, "has already denied this request in Discord"
	if winner = "discord"; sent[0].Status == epmtest.Approved {
		winner, shown, want = "slack", "Approved by", "has already approved this request in Slack"
		told = strings.Contains(s.discordTold(discordPerson), want)
	} else if v, ok := p.View(); ok {
		told = strings.Contains(string(v.Blocks), want)
	}
	if !told {
		return "", fmt.Errorf("the one who came second was not told %q", want)
	}
	if !strings.Contains(slackCard.Text, shown) || !strings.Contains(inDiscord.text, shown) {
		return "", fmt.Errorf("the cards do not both say %q: %q, %q", shown, slackCard.Text, inDiscord.text)
	}
	// Nobody reads them any more, and looking through all of them takes time.
	for _, e := range q.Ephemerals() {
		q.Dismiss(e.ID)
	}
	if _, open := p.View(); open {
		err = p.CloseView(s.Context())
	}
	for _, m := range s.slack.Messages(channel) {
		if m.TS == slackCard.TS || m.ThreadTS == slackCard.TS {
			s.slack.Delete(channel, m.TS)
		}
	}
	s.discord.DeleteThread(inDiscord.id)
	s.discord.Delete(discordChannel, inDiscord.id)
	return winner, err
}
