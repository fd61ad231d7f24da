package main

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/countersign/countersign/adapters/discord/discordtest"
	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
)

// demoState is all that the page shows.
type demoState struct {
	People   []demoPerson  `json:"people"`
	Askers   []demoAsker   `json:"askers"`
	Programs []demoProgram `json:"programs"`
	Slack    slackState    `json:"slack"`
	Discord  discordState  `json:"discord"`
	EPM      epmState      `json:"epm"`
}

type slackState struct {
	Bot        string                     `json:"bot"` // the bot's user id
	Channel    string                     `json:"channel"`
	Names      map[string]string          `json:"names"`      // of users, groups and channels, by id
	Messages   []slackMessage             `json:"messages"`   // oldest first, with replies
	Ephemerals map[string][]slackMessage  `json:"ephemerals"` // by person
	Views      map[string]slackView       `json:"views"`      // by person
	Homes      map[string]json.RawMessage `json:"homes"`      // the blocks of home tabs, by person
}

type slackMessage struct {
	TS       string          `json:"ts"`
	ThreadTS string          `json:"thread_ts,omitempty"`
	User     string          `json:"user,omitempty"`
	Text     string          `json:"text"`
	Blocks   json.RawMessage `json:"blocks,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitempty"`
	Edits    int             `json:"edits"`
}

type slackView struct {
	ID     string            `json:"id"`
	Hash   string            `json:"hash"`
	View   json.RawMessage   `json:"view"`
	Typed  map[string]string `json:"typed"`
	Errors map[string]string `json:"errors"`
}

type discordState struct {
	Bot        string                      `json:"bot"`        // the bot's user id
	Names      map[string]string           `json:"names"`      // of users, roles and channels, by id
	Commands   json.RawMessage             `json:"commands"`   // as the bot has registered them
	Messages   []discordMessage            `json:"messages"`   // oldest first
	Ephemerals map[string][]discordMessage `json:"ephemerals"` // by person
	Modals     map[string]discordModal     `json:"modals"`     // by person
}

type discordMessage struct {
	ID         string          `json:"id"`
	Channel    string          `json:"channel"`
	Author     string          `json:"author,omitempty"`
	Content    string          `json:"content,omitempty"`
	Flags      int             `json:"flags"`
	Components json.RawMessage `json:"components,omitempty"`
	Mentions   json.RawMessage `json:"mentions,omitempty"` // allowed_mentions
	Pings      []string        `json:"pings,omitempty"`    // whom it notified, by id
	Edits      int             `json:"edits"`
	At         int64           `json:"at"` // ms since 1970
	Thread     *discordThread  `json:"thread,omitempty"`
}

type discordThread struct {
	Name     string           `json:"name"`
	Messages []discordMessage `json:"messages"` // oldest first
}

type discordModal struct {
	ID    string            `json:"id"`
	Modal json.RawMessage   `json:"modal"`
	Typed map[string]string `json:"typed"`
}

type epmState struct {
	Mode     epmtest.Mode   `json:"mode"`
	Requests []requestState `json:"requests"` // newest first
	Traffic  []trafficState `json:"traffic"`  // newest first
}

type requestState struct {
	ID        string         `json:"id"`
	Kind      epmtest.Kind   `json:"kind"`
	Number    string         `json:"number"`
	User      string         `json:"user"`
	Host      string         `json:"host"`
	Program   string         `json:"program"`
	Status    epmtest.Status `json:"status"`
	Asked     string         `json:"asked"`
	Duration  string         `json:"duration"`
	DecidedBy string         `json:"decided_by"`
	Message   string         `json:"message"`
	InConsole bool           `json:"in_console"`
	Created   int64          `json:"created"` // ms since 1970
	Until     int64          `json:"until"`   // ms since 1970, 0 for none
}

// trafficState is one call that EPM got or one webhook that it sent.
type trafficState struct {
	at     time.Time
	At     int64  `json:"at"` // ms since 1970
	Out    bool   `json:"out"`
	What   string `json:"what"`
	Status int    `json:"status"` // 0 for no answer
}

func (d *demoPage) state() demoState {
	return demoState{
		People: d.people, Askers: demoAskers(), Programs: demoPrograms(),
		Slack: d.slackState(), Discord: d.discordState(), EPM: d.epmState(),
	}
}

func (d *demoPage) slackState() slackState {
	s := slackState{
		Bot: slacktest.BotUserID, Channel: demoChannel, Names: map[string]string{demoGroup: "helpdesk"},
		Messages: []slackMessage{}, Ephemerals: map[string][]slackMessage{}, Views: map[string]slackView{}, Homes: map[string]json.RawMessage{},
	}
	for _, u := range d.slack.Users() {
		name := u.RealName
		if u.Bot {
			name = "Countersign"
		}
		s.Names[u.ID] = name
	}
	for _, c := range d.slack.Channels() {
		s.Names[c.ID] = c.Name
	}
	for _, m := range newest(d.slack.Messages(demoChannel), demoMessages) {
		s.Messages = append(s.Messages, slackMessage{m.TS, m.ThreadTS, m.User, m.Text, m.Blocks, m.Metadata, m.Edits})
	}
	for _, p := range d.people {
		person := d.slack.Person(p.Slack)
		for _, e := range newest(person.Ephemerals(), demoEphemerals) {
			s.Ephemerals[p.ID] = append(s.Ephemerals[p.ID], slackMessage{TS: e.TS, Text: e.Text, Blocks: e.Blocks})
		}
		if v, ok := person.View(); ok {
			s.Views[p.ID] = slackView{v.ID, v.Hash, v.Raw, v.Typed, v.Errors}
		}
		if v, ok := person.Home(); ok {
			s.Homes[p.ID] = v.Blocks
		}
	}
	return s
}

func (d *demoPage) discordState() discordState {
	s := discordState{
		Bot: discordtest.BotUserID, Names: map[string]string{}, Commands: d.discord.Commands(),
		Ephemerals: map[string][]discordMessage{}, Modals: map[string]discordModal{},
	}
	for _, r := range d.discord.Roles() {
		s.Names[r.ID] = r.Name
	}
	for _, u := range d.discord.Users() {
		s.Names[u.ID] = cmp.Or(u.Nick, u.GlobalName, u.Username)
	}
	for _, c := range d.discord.Channels() {
		s.Names[c.ID] = c.Name
	}
	s.Messages = d.discordMessages(demoDiscordChannel)
	for i, m := range s.Messages {
		// A thread has the id of the message that it was started from.
		if name, ok := s.Names[m.ID]; ok {
			s.Messages[i].Thread = &discordThread{name, d.discordMessages(m.ID)}
		}
	}
	for _, p := range d.people {
		person := d.discord.Person(p.Discord)
		for _, e := range newest(person.Ephemerals(), demoEphemerals) {
			s.Ephemerals[p.ID] = append(s.Ephemerals[p.ID], discordMessage{
				ID: e.ID, Channel: e.Channel, Content: e.Content, Flags: e.Flags, Components: e.Components, Edits: e.Edits, At: e.Created.UnixMilli(),
			})
		}
		if m, ok := person.Modal(); ok {
			s.Modals[p.ID] = discordModal{m.CustomID, m.Raw, m.Typed}
		}
	}
	return s
}

func (d *demoPage) discordMessages(channel string) []discordMessage {
	list := []discordMessage{}
	for _, m := range newest(d.discord.Messages(channel), demoMessages) {
		list = append(list, discordMessage{
			ID: m.ID, Channel: m.Channel, Author: m.Author, Content: m.Content, Flags: m.Flags, Components: m.Components,
			Mentions: m.AllowedMentions, Pings: m.Pings, Edits: m.Edits, At: m.Created.UnixMilli(),
		})
	}
	return list
}

func (d *demoPage) epmState() epmState {
	s := epmState{Mode: d.epm.Mode(), Requests: []requestState{}, Traffic: d.traffic()}
	requests := d.epm.Requests()
	for _, r := range requests[:min(len(requests), demoRequests)] {
		q := requestState{
			ID: r.ID, Kind: r.Kind, Number: r.Number, User: r.User, Host: r.Host, Program: r.Program, Status: r.Status,
			Asked: r.Asked, Duration: r.Duration, DecidedBy: r.DecidedBy, Message: r.Message, InConsole: r.InConsole, Created: r.Created.UnixMilli(),
		}
		if !r.Until.IsZero() {
			q.Until = r.Until.UnixMilli()
		}
		s.Requests = append(s.Requests, q)
	}
	return s
}

// traffic is what went between EPM and the bot lately.
func (d *demoPage) traffic() []trafficState {
	list := []trafficState{}
	for _, c := range newest(d.epm.Calls(), demoTraffic) {
		list = append(list, trafficState{c.Wall, c.Wall.UnixMilli(), false, c.Method + " " + c.Path, c.Status})
	}
	for _, x := range newest(d.epm.Deliveries(), demoTraffic) {
		list = append(list, trafficState{x.At, x.At.UnixMilli(), true, "webhook " + string(x.Event), x.Status})
	}
	slices.SortStableFunc(list, func(a, b trafficState) int { return b.at.Compare(a.at) })
	return list[:min(len(list), demoTraffic)]
}

// newest is the last n of list.
func newest[T any](list []T, n int) []T { return list[max(0, len(list)-n):] }
