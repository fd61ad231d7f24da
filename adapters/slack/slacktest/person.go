package slacktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What stops a person.
var (
	ErrNoSuchMessage = errors.New("no such message")
	ErrNoSuchButton  = errors.New("no such button")
	ErrNoView        = errors.New("no form is open")
	ErrNoSuchField   = errors.New("no such field in the form")
	ErrNoSuchOption  = errors.New("no such option")
	ErrNoSubmit      = errors.New("the form has no submit button")
	// ErrTrouble is what the person sees when the app's answer is missing or
	// wrong: "We had some trouble connecting. Try again?"
	ErrTrouble = errors.New("we had some trouble connecting")
)

// BlockedError is Slack's own client refusing to submit a form; the app hears nothing of it.
type BlockedError struct{ Fields map[string]string } // by block id

func (e *BlockedError) Error() string {
	var b strings.Builder
	b.WriteString("the form cannot be submitted")
	for _, k := range slices.Sorted(maps.Keys(e.Fields)) {
		fmt.Fprintf(&b, "; %s: %s", k, e.Fields[k])
	}
	return b.String()
}

func trouble(reason any) error {
	if err, ok := reason.(error); ok {
		return fmt.Errorf("%w (%w)", ErrTrouble, err)
	}
	return fmt.Errorf("%w (%w: %v)", ErrTrouble, ErrBadAck, reason)
}

// Person does what a user of the workspace can do in Slack's client. Its
// methods may be used from many goroutines; calls wait for the app's
// acknowledgement, at most Config.AckWait.
type Person struct {
	s  *Server
	id string
}

// Person is the user with this id, which should have been added before.
func (s *Server) Person(userID string) *Person { return &Person{s: s, id: userID} }

// ID is the user's id.
func (p *Person) ID() string { return p.id }

// payload is what all interactions have in common.
func (p *Person) payload(kind string, modal bool) map[string]any {
	s := p.s
	u := s.users[p.id]
	if u == nil {
		u = &User{ID: p.id, Name: strings.ToLower(p.id), TeamID: s.cfg.TeamID}
	}
	w := map[string]any{
		"type": kind, "api_app_id": s.cfg.AppID, "token": "slacktest",
		"team":       map[string]any{"id": s.cfg.TeamID, "domain": s.cfg.TeamDomain},
		"user":       map[string]any{"id": u.ID, "username": u.Name, "name": u.Name, "team_id": u.TeamID},
		"enterprise": nil, "is_enterprise_install": false,
	}
	if e := s.cfg.EnterpriseID; e != "" {
		w["enterprise"] = map[string]any{"id": e, "name": "Acme"}
		w["team"] = map[string]any{"id": s.cfg.TeamID, "domain": s.cfg.TeamDomain, "enterprise_id": e, "enterprise_name": "Acme"}
	}
	if kind != "view_closed" {
		w["trigger_id"] = s.newTrigger(p.id, modal)
	}
	return w
}

// Click presses a button in a message or an ephemeral message. A button that
// is not there now is [ErrNoSuchButton]; see [Person.ClickRaw].
func (p *Person) Click(ctx context.Context, channel, ts, actionID string) error {
	return p.use(ctx, channel, ts, actionID, func(e map[string]any) (RawClick, error) {
		if text(e, "type") != "button" {
			return RawClick{}, ErrNoSuchButton
		}
		return RawClick{Value: text(e, "value"), text: e["text"]}, nil
	})
}

// Choose chooses an option of a static_select or an overflow menu in a message,
// by its value. One that is not offered is [ErrNoSuchOption].
func (p *Person) Choose(ctx context.Context, channel, ts, actionID, value string) error {
	return p.use(ctx, channel, ts, actionID, func(e map[string]any) (RawClick, error) {
		kind := text(e, "type")
		if kind != "static_select" && kind != "overflow" {
			return RawClick{}, ErrNoSuchButton
		}
		for _, o := range allOptions(e) {
			if text(o, "value") == value {
				return RawClick{Value: value, Type: kind, text: o["text"]}, nil
			}
		}
		return RawClick{}, fmt.Errorf("%q: %w", value, ErrNoSuchOption)
	})
}

// use sends what how makes of the element of a message that is called actionID.
func (p *Person) use(ctx context.Context, channel, ts, actionID string, how func(map[string]any) (RawClick, error)) error {
	s := p.s
	s.mu.Lock()
	_, blocks, found := p.look(channel, ts)
	if !found {
		s.mu.Unlock()
		return ErrNoSuchMessage
	}
	var list []map[string]any
	if blocks != nil {
		_ = decode(blocks, &list) // they were checked when they came
	}
	err := ErrNoSuchButton
	for _, b := range list {
		for _, e := range interactive(b) {
			if text(e, "action_id") != actionID || !p.sees(e) {
				continue
			}
			var raw RawClick
			if raw, err = how(e); err == nil {
				s.mu.Unlock()
				raw.Channel, raw.TS, raw.ActionID, raw.BlockID = channel, ts, actionID, text(b, "block_id")
				return p.ClickRaw(ctx, raw)
			}
		}
	}
	s.mu.Unlock()
	return err
}

func (p *Person) sees(e map[string]any) bool {
	only, ok := e["visible_to_user_ids"].([]any)
	return !ok || len(only) == 0 || slices.Contains(only, any(p.id))
}

// look finds a message that the person can see.
func (p *Person) look(channel, ts string) (ephemeral bool, blocks json.RawMessage, found bool) {
	for _, e := range p.s.privates[p.id] {
		if e.Channel == channel && e.TS == ts {
			return true, e.Blocks, true
		}
	}
	c := p.s.channels[channel]
	if c == nil || (c.Private || c.DM != "") && !slices.Contains(c.Members, p.id) {
		return false, nil, false
	}
	if m := p.s.message(channel, ts); m != nil {
		return false, m.Blocks, true
	}
	return false, nil, false
}

// RawClick is a click on a button that may have gone or never have been there.
type RawClick struct {
	Channel, TS, ActionID, BlockID, Value string

	Type string // of the element; empty for a button, else Value is of the chosen option
	text any
}

// ClickRaw sends a click as told, without looking at the message: from a
// client that shows an old version, or from an attacker.
func (p *Person) ClickRaw(ctx context.Context, c RawClick) error {
	s := p.s
	s.mu.Lock()
	w := p.payload("block_actions", false)
	ephemeral, _, _ := p.look(c.Channel, c.TS)
	name := ""
	if ch := s.channels[c.Channel]; ch != nil {
		if name = ch.Name; ch.DM != "" {
			name = "directmessage"
		}
	}
	w["container"] = map[string]any{"type": "message", "message_ts": c.TS, "channel_id": c.Channel, "is_ephemeral": ephemeral}
	w["channel"] = map[string]any{"id": c.Channel, "name": name}
	if m := s.message(c.Channel, c.TS); m != nil && !ephemeral {
		w["message"] = s.wireMessage(m, true)
	}
	w["response_url"] = s.newResponseURL(responseURL{user: p.id, channel: c.Channel, ts: c.TS, ephemeral: ephemeral})
	action := map[string]any{"type": "button", "action_id": c.ActionID, "block_id": c.BlockID, "action_ts": s.ts()}
	values := map[string]any{}
	if c.Type == "" {
		action["value"] = c.Value
		if c.text != nil {
			action["text"] = c.text
		}
	} else {
		chosen := map[string]any{"text": c.text, "value": c.Value}
		action["type"], action["selected_option"] = c.Type, chosen
		if c.Type != "overflow" { // which keeps nothing
			values[c.BlockID] = map[string]any{c.ActionID: map[string]any{"type": c.Type, "selected_option": chosen}}
		}
	}
	w["state"] = map[string]any{"values": values}
	w["actions"] = []any{action}
	body := marshal(w)
	s.mu.Unlock()
	if _, err := s.deliver(ctx, Interactive, body, 0, ""); err != nil {
		return trouble(err)
	}
	return nil
}

// Home is the app's home tab as published for the person, if it is.
func (p *Person) Home() (*View, bool) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if h := p.s.desk(p.id).home; h != nil {
		return p.s.show(h), true
	}
	return nil, false
}

// OpenHome opens the app's home tab; the app hears app_home_opened.
func (p *Person) OpenHome(ctx context.Context) error {
	p.s.mu.Lock()
	ev := map[string]any{"type": "app_home_opened", "user": p.id, "channel": p.s.dm(p.id).ID, "tab": "home", "event_ts": p.s.ts()}
	if h := p.s.desk(p.id).home; h != nil {
		ev["view"] = p.s.wireView(h)
	}
	p.s.mu.Unlock()
	return p.s.SendEvent(ctx, ev)
}

// Act uses an element of the open form that tells the app at once: a button,
// or an input whose block has dispatch_action.
func (p *Person) Act(ctx context.Context, actionID, value string) error {
	p.s.mu.Lock()
	v := p.top()
	if v == nil {
		p.s.mu.Unlock()
		return ErrNoView
	}
	return p.act(ctx, v, actionID, value)
}

// ActHome uses an element of the home tab. Of several buttons with one action
// id it is the one with this value.
func (p *Person) ActHome(ctx context.Context, actionID, value string) error {
	p.s.mu.Lock()
	v := p.s.desk(p.id).home
	if v == nil {
		p.s.mu.Unlock()
		return ErrNoView
	}
	return p.act(ctx, v, actionID, value)
}

// act is called with the lock held and gives it back.
func (p *Person) act(ctx context.Context, v *view, actionID, value string) error {
	s := p.s
	b, e, err := v.set(actionID, value)
	if err == nil && text(b, "type") == "input" && b["dispatch_action"] != true {
		err = fmt.Errorf("%s: %w: the block has no dispatch_action", actionID, ErrNoSuchButton)
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	s.changed()
	action := map[string]any{"action_id": text(e, "action_id"), "block_id": text(b, "block_id"), "action_ts": s.ts()}
	switch text(e, "type") {
	case "button":
		action["type"], action["text"] = "button", e["text"]
		if e["value"] != nil {
			action["value"] = e["value"]
		}
	case "overflow":
		st, err := typed(map[string]any{"type": "static_select", "options": e["options"]}, value)
		if err != nil {
			s.mu.Unlock()
			return err
		}
		action["type"], action["selected_option"] = "overflow", st["selected_option"]
	default:
		maps.Copy(action, v.typed[inputKey(text(b, "block_id"), text(e, "action_id"))])
	}
	w := p.payload("block_actions", text(v.raw, "type") == "modal")
	w["container"] = map[string]any{"type": "view", "view_id": v.id}
	w["view"] = s.wireView(v)
	w["actions"] = []any{action}
	body := marshal(w)
	s.mu.Unlock()
	if _, err := s.deliver(ctx, Interactive, body, 0, ""); err != nil {
		return trouble(err)
	}
	return nil
}

// Answer is what an app answered to a command at once; nothing when Text and
// Blocks are empty. Later answers are among [Person.Ephemerals].
type Answer struct {
	ResponseType string // "ephemeral" or "in_channel"
	Text         string
	Blocks       json.RawMessage
}

// Command types a slash command in the first channel that the person is in.
func (p *Person) Command(ctx context.Context, command, text string) (Answer, error) {
	p.s.mu.Lock()
	channel := ""
	for _, c := range p.s.channels {
		if slices.Contains(c.Members, p.id) && (channel == "" || c.ID < channel) {
			channel = c.ID
		}
	}
	if channel == "" {
		channel = p.s.dm(p.id).ID
	}
	p.s.mu.Unlock()
	return p.CommandIn(ctx, channel, command, text)
}

// CommandIn types a slash command in a channel. Text is what the app gets:
// with should_escape, mentions look like <@U123|name>.
func (p *Person) CommandIn(ctx context.Context, channel, command, text string) (Answer, error) {
	s := p.s
	s.mu.Lock()
	w := p.payload("", false)
	user := w["user"].(map[string]any)
	name := "directmessage"
	if c := s.channels[channel]; c != nil && c.DM == "" {
		name = c.Name
	}
	form := map[string]any{
		"token": "slacktest", "command": command, "text": text, "api_app_id": s.cfg.AppID, "is_enterprise_install": "false",
		"user_id": user["id"], "user_name": user["name"], "team_id": user["team_id"], "team_domain": s.cfg.TeamDomain,
		"channel_id": channel, "channel_name": name, "trigger_id": w["trigger_id"],
		"response_url": s.newResponseURL(responseURL{user: p.id, channel: channel}),
	}
	if s.cfg.EnterpriseID != "" {
		form["enterprise_id"], form["enterprise_name"] = s.cfg.EnterpriseID, "Acme"
	}
	body := marshal(form)
	s.mu.Unlock()
	a, err := s.deliver(ctx, SlashCommands, body, 0, "")
	switch {
	case errors.Is(err, ErrNoAck):
		return Answer{}, fmt.Errorf("%s failed with the error \"operation_timeout\": %w", command, err)
	case err != nil:
		return Answer{}, fmt.Errorf("%s failed with the error \"dispatch_failed\": %w", command, err)
	}
	if a.empty() {
		return Answer{}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var r answerOf
	if json.Unmarshal(a.body, &r) != nil {
		if a.via == "socket" {
			s.violate("answer to a command: not a JSON object")
			return Answer{}, fmt.Errorf("%s failed with the error \"dispatch_failed\": %w", command, ErrBadAck)
		}
		r = answerOf{Text: string(a.body)} // plain text is shown as it is
	}
	c, bad := s.checkContent("answer to a command", args{"text": r.Text, "blocks": string(r.Blocks)}, "msg_blocks_too_long")
	if bad != nil {
		s.violate("answer to a command: %s %v", bad.err, bad.details)
		return Answer{}, fmt.Errorf("%s failed with the error \"dispatch_failed\": %w: %s", command, ErrBadAck, bad.err)
	}
	switch r.ResponseType {
	case "in_channel":
		s.say(channel, c, "")
	case "", "ephemeral":
		r.ResponseType = "ephemeral"
		s.whisper(Ephemeral{Channel: channel, User: p.id, Text: c.text, Blocks: c.blocks, Via: "command"})
	default:
		s.violate("answer to a command: response_type %q", r.ResponseType)
	}
	return Answer{ResponseType: r.ResponseType, Text: c.text, Blocks: c.blocks}, nil
}

// Ephemerals lists what only this person sees, oldest first.
func (p *Person) Ephemerals() []Ephemeral {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	var out []Ephemeral
	for _, e := range p.s.privates[p.id] {
		out = append(out, *e)
	}
	return out
}
