package slack

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/slack-go/slack"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/chatkit/signed"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// afterTime is for what is said after the answer, by response_url.
const afterTime = 10 * time.Second

// response is the answer to one delivery.
type response struct {
	ack any // JSON to answer with; nil for an empty answer
	// fallbackAck stands in for a body that is too large for an acknowledgement.
	fallbackAck *response
	// after is done after the answer has gone out; nil for nothing.
	after func(context.Context)
	// slow is set if then waits for an answer.
	slow bool
	// known tells an answer that says nothing from one that is not known.
	known bool
}

// text is a JSON string, or whatever stands in its place.
type text = jsonx.LooseString

type object struct {
	ID text `json:"id"`
}

// interaction is a click or a submitted form, as much of it as we use.
type interaction struct {
	Type  text `json:"type"`
	AppID text `json:"api_app_id"`
	Team  struct {
		ID         text `json:"id"`
		Enterprise text `json:"enterprise_id"`
	} `json:"team"`
	Enterprise object `json:"enterprise"`
	User       struct {
		ID       text `json:"id"`
		Username text `json:"username"`
		Name     text `json:"name"`
		TeamID   text `json:"team_id"`
	} `json:"user"`
	Container struct {
		MessageTS text `json:"message_ts"`
		ChannelID text `json:"channel_id"`
		Ephemeral bool `json:"is_ephemeral"`
	} `json:"container"`
	Channel     object `json:"channel"`
	TriggerID   text   `json:"trigger_id"`
	ResponseURL text   `json:"response_url"`
	Actions     []struct {
		ActionID text `json:"action_id"`
		BlockID  text `json:"block_id"`
		Value    text `json:"value"`
		Selected struct {
			Value text `json:"value"`
		} `json:"selected_option"`
		ActionTS text `json:"action_ts"`
	} `json:"actions"`
	View view `json:"view"`
}

type view struct {
	Type            text `json:"type"`
	ID              text `json:"id"`
	Hash            text `json:"hash"`
	CallbackID      text `json:"callback_id"`
	PrivateMetadata text `json:"private_metadata"`

	Title  *slack.TextBlockObject `json:"title"`
	Submit *slack.TextBlockObject `json:"submit"`
	Close  *slack.TextBlockObject `json:"close"`
	Blocks json.RawMessage        `json:"blocks"`

	State struct {
		Values map[string]map[string]entry `json:"values"`
	} `json:"state"`
}

// entry is what an input holds.
type entry struct {
	Value    text `json:"value"`
	Selected struct {
		Value text `json:"value"`
	} `json:"selected_option"`
	Several []struct {
		Value text `json:"value"`
	} `json:"selected_options"`
}

// text is what e holds, several as a comma list.
func (e *entry) text() string {
	if e.Value != "" || e.Selected.Value != "" {
		return cmp.Or(string(e.Value), string(e.Selected.Value))
	}
	var all []string
	for _, one := range e.Several {
		all = append(all, string(one.Value))
	}
	return strings.Join(all, ", ")
}

// settings is what the form of the settings holds, by key.
func (v *view) settings() (version int64, values map[string]string, ok bool) {
	version, err := strconv.ParseInt(string(v.PrivateMetadata), 10, 64)
	values = map[string]string{}
	for id, in := range v.State.Values {
		key, of, _ := strings.Cut(id, "@")
		e, shown := in[id]
		if of != string(v.PrivateMetadata) || !shown {
			return 0, nil, false
		}
		values[key] = e.text()
	}
	return version, values, err == nil && len(values) > 0
}

// form is what is typed in v.
func (v *view) form() tickets.Form {
	in := func(f tickets.FormField) entry { return v.State.Values[string(f)][string(f)] }
	return tickets.Form{
		Reason: string(in(tickets.FieldReason).Value),
		Unit:   tickets.Unit(in(tickets.FieldUnit).Selected.Value),
		Amount: string(in(tickets.FieldAmount).Value),
	}
}

// shows reports whether v has the field.
func (v *view) shows(f tickets.FormField) bool {
	_, ok := v.State.Values[string(f)]
	return ok
}

func (in *interaction) channel() string {
	if in.Channel.ID != "" {
		return string(in.Channel.ID)
	}
	return string(in.Container.ChannelID)
}

// inForm reports whether in is a change of a field of a form that is open.
func (in *interaction) inForm() bool { return in.View.ID != "" && in.View.Type != homeTab }

func (in *interaction) place() tickets.Place {
	if ch := in.channel(); ch != "" {
		return tickets.Place{Platform: Platform, Channel: ch}
	}
	return tickets.Place{}
}

func (in *interaction) actor() tickets.Actor {
	name := in.User.Name
	if name == "" {
		name = in.User.Username
	}
	return tickets.Actor{Platform: Platform, ID: string(in.User.ID), Name: string(name)}
}

// once gives a delivery that was seen before the answer it got then, or unknown
// if that is not known, or not yet.
func (c *Chat) once(ctx context.Context, key string, unknown response, do func() response) response {
	s, again := c.seen.Once(ctx, key, func() response {
		s := do()
		s.known = true
		return s
	})
	switch {
	case again && !s.known:
		return unknown
	case again:
		return response{ack: s.ack, fallbackAck: s.fallbackAck} // what followed has been done
	}
	return s
}

// ask makes one call of the Handler within its time.
func (c *Chat) ask(ctx context.Context, received time.Time, call func(context.Context) adapters.Answer) adapters.Answer {
	return chatkit.CallHandler(ctx, received.Add(c.within.Think), c.log, call)
}

// interact answers the delivery of an interaction.
func (c *Chat) interact(ctx context.Context, received time.Time, payload []byte, h adapters.Handler) response {
	var in interaction
	if err := jsonx.IgnoreTypeErrors(json.Unmarshal(payload, &in)); err != nil {
		c.log.Warn("an interaction is not JSON, acknowledged", "err", describe(err))
		return response{}
	}
	ctx, cancel := context.WithDeadline(ctx, received.Add(c.within.Ack))
	defer cancel()
	stop := c.strangerCheck(ctx, sender{
		app: string(in.AppID), team: string(in.Team.ID), enterprise: string(cmp.Or(in.Enterprise.ID, in.Team.Enterprise)),
		user: string(in.User.ID), userTeam: string(in.User.TeamID),
	})
	switch in.Type {
	case "block_actions":
		if len(in.Actions) == 0 {
			c.log.Warn("a click without an action, acknowledged")
			return response{}
		}
		switch {
		case stop != "" && in.inForm():
			return response{} // the form stays as it is, and says it when it is sent
		case stop != "":
			return response{after: func(ctx context.Context) { c.answerClick(ctx, &in, stop) }}
		}
		a := in.Actions[0]
		key := strings.Join([]string{"click", in.channel(), string(in.Container.MessageTS), string(in.View.ID), string(a.ActionID), string(a.ActionTS), string(in.User.ID)}, "\x00")
		return c.once(ctx, key, response{}, func() response { return c.click(ctx, received, &in, deliveryOf(key), h) })
	case "view_submission":
		if stop != "" {
			return in.View.keeping(stop)
		}
		typed := sha256.Sum256(payload)
		key := strings.Join([]string{"form", string(in.View.ID), string(in.View.Hash), string(in.TriggerID), hex.EncodeToString(typed[:])}, "\x00")
		return c.once(ctx, key, in.View.keeping(wording.MsgSlow), func() response { return c.refreshing(c.submit(ctx, received, &in, deliveryOf(key), h), &in, h) })
	case "view_closed":
	default:
		c.log.Warn("an interaction of a kind that we do not offer, acknowledged", "type", word(string(in.Type)))
	}
	return response{}
}

// deliveryOf names what a person did by the key under which it is remembered.
func deliveryOf(key string) adapters.Delivery {
	sum := sha256.Sum256([]byte(key))
	return adapters.Delivery(hex.EncodeToString(sum[:]))
}

func (c *Chat) click(ctx context.Context, received time.Time, in *interaction, delivery adapters.Delivery, h adapters.Handler) response {
	click := adapters.Click{
		Delivery: delivery,
		Actor:    in.actor(),
		Place:    in.place(),
		Number:   tickets.Number(in.Actions[0].Value),
		Digest:   digestIn(string(in.Actions[0].BlockID)),
		Private:  in.View.ID != "" || in.Container.Ephemeral,
	}
	inForm := in.inForm()
	ctx, cancel := context.WithDeadline(ctx, received.Add(c.within.Open))
	defer cancel()
	switch id := string(in.Actions[0].ActionID); {
	case !inForm && (id == string(adapters.ActionNewer) || id == string(adapters.ActionOlder)):
		return c.turnPage(ctx, received, in, delivery, h)
	case inForm && id == unitField:
		click.Action, click.Verdict, click.Form = adapters.ActionForm, tickets.Verdict(in.View.CallbackID), in.View.form()
		click.Number, click.Digest = in.View.about()
	case !inForm && (id == string(adapters.ActionApprove) || id == string(adapters.ActionDeny) || id == string(adapters.ActionDetails)):
		click.Action = adapters.Action(id)
	case !inForm && id == string(adapters.ActionState):
		click.Action = adapters.ActionState
		click.Number, click.State = parseMove(string(in.Actions[0].Selected.Value))
	default:
		c.log.Warn("a click on something that we do not offer", "action", word(id))
		return response{after: func(ctx context.Context) { c.answerClick(ctx, in, sayUnknownButton) }}
	}
	if _, ok := click.Number.Seq(); !ok {
		return response{after: func(ctx context.Context) { c.answerClick(ctx, in, wording.MsgNoTicket(click.Number)) }}
	}
	answer := c.ask(ctx, received, func(ctx context.Context) adapters.Answer { return h.Click(ctx, click) })
	if inForm {
		if n, no := answer.(adapters.Note); no && n.Again {
			return response{} // it stays as it is, and says it when it is sent
		}
		if v, ok := viewOf(answer); ok {
			return c.changeForm(ctx, in, in.marked(v))
		}
		return response{}
	}
	switch a := answer.(type) {
	case adapters.Note:
		return c.refreshing(response{after: func(ctx context.Context) { c.answerClick(ctx, in, a.Text) }}, in, h)
	case adapters.Form, adapters.Details:
		v, _ := viewOf(a)
		if err := c.open(ctx, string(in.TriggerID), in.marked(v)); err != nil {
			c.log.Warn("a form did not open", "ticket", string(click.Number), "actor", click.Actor.ID, "after", time.Since(received).Round(time.Millisecond), "err", err)
			say := sayNotOpened
			if isLateTrigger(err) {
				say = wording.MsgAgain
			}
			return response{after: func(ctx context.Context) { c.answerClick(ctx, in, say) }}
		}
	}
	return response{}
}

// turnPage shows another page in place of the one that was clicked. The click is
// acknowledged at once.
func (c *Chat) turnPage(ctx context.Context, received time.Time, in *interaction, delivery adapters.Delivery, h adapters.Handler) response {
	cmd := adapters.Command{Delivery: delivery, Actor: in.actor(), Place: in.place(), Text: string(in.Actions[0].Value), Turned: true}
	asked := c.asking(context.WithoutCancel(ctx), received, func(ctx context.Context) adapters.Answer { return h.Command(ctx, cmd) })
	return response{slow: true, after: func(ctx context.Context) {
		a := <-asked
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterTime)
		defer cancel()
		p, ok := a.(adapters.Page)
		if !ok || !in.Container.Ephemeral {
			// What is shown stays, and what others see is none of this person's.
			c.sendLate(ctx, string(in.ResponseURL), in.channel(), string(in.User.ID), a)
			return
		}
		text, blocks := pages(p)
		err := c.respond(ctx, string(in.ResponseURL), &slack.WebhookMessage{
			ResponseType: slack.ResponseTypeEphemeral, ReplaceOriginal: true, Text: text, Blocks: &slack.Blocks{BlockSet: blocks},
		})
		if err != nil {
			c.log.Warn("a page was not turned", "actor", cmd.Actor.ID, "err", err)
			c.sendEphemeralText(ctx, "", in.channel(), string(in.User.ID), p.Text)
		}
	}}
}

const (
	sayUnknownButton = "This button belongs to another version of Countersign. Please use the newest message of the ticket"
	sayNotOpened     = "Slack did not open the form. If it does not appear, please click again"
)

func (c *Chat) open(ctx context.Context, trigger string, v slack.ModalViewRequest) error {
	c.lintView(v)
	return c.call(ctx, "views.open", "", true, func() error {
		_, err := c.api().OpenViewContext(ctx, trigger, v)
		return err
	})
}

// lintView tells the operator what Slack may refuse: a form has no simpler
// stand-in, so it is tried.
func (c *Chat) lintView(v any) {
	raw, err := json.Marshal(v)
	if err != nil {
		c.log.Error("a form cannot be written", "err", err)
		return
	}
	if wrong := lintView(raw); len(wrong) > 0 {
		c.log.Error("a form breaks slack's limits", "limits", strings.Join(wrong, "; "))
	}
}

func (c *Chat) update(ctx context.Context, viewID, hash string, v slack.ModalViewRequest) error {
	c.lintView(v)
	_, err := c.updated(ctx, viewID, hash, v)
	return err
}

// updated is update, and returns the view's new hash.
func (c *Chat) updated(ctx context.Context, viewID, hash string, v slack.ModalViewRequest) (now string, err error) {
	err = c.call(ctx, "views.update", "", false, func() error {
		res, err := c.api().UpdateViewContext(ctx, v, "", hash, viewID)
		if err == nil {
			now = res.Hash
		}
		return err
	})
	return now, err
}

const (
	// replaceAfter is how long after the answer to a form what follows it is
	// tried, and tried again.
	replaceAfter = 100 * time.Millisecond
	maxReplaces  = 20
)

// replace shows v in place of the view that the answer to the form in puts
// there. Slack may see v before that answer, which would then take its place.
// As long as the view has the hash that it had, the answer was not there yet.
func (c *Chat) replace(ctx context.Context, in *interaction, v slack.ModalViewRequest) error {
	c.lintView(v)
	id, hash := string(in.View.ID), string(in.View.Hash)
	var err error
	for n := 0; n < maxReplaces && hash != "" && chatkit.Sleep(ctx, replaceAfter); n++ {
		if hash, err = c.updated(ctx, id, hash, v); slackError(err) == "hash_conflict" {
			break
		} else if err != nil {
			return err
		}
	}
	_, err = c.updated(ctx, id, "", v)
	return err
}

// changeForm shows v in place of the form of in. The form may have been
// changed since: then the newest change counts, and it is the one that Slack
// reports last.
func (c *Chat) changeForm(ctx context.Context, in *interaction, v slack.ModalViewRequest) response {
	newest := c.forms.change(string(in.View.ID), string(in.Actions[0].ActionTS))
	err := c.update(ctx, string(in.View.ID), string(in.View.Hash), v)
	if slackError(err) == "hash_conflict" && newest() {
		err = c.update(ctx, string(in.View.ID), "", v)
	}
	if err != nil && slackError(err) != "hash_conflict" && slackError(err) != "not_found" {
		number, _ := in.View.about()
		c.log.Warn("a form was not changed", "ticket", string(number), "actor", string(in.User.ID), "err", err)
	}
	return response{}
}

// submission is the answer to a submitted form
// (docs.slack.dev/surfaces/modals, "displaying errors", "updating views").
type submission struct {
	Action string                  `json:"response_action"`
	Errors map[string]string       `json:"errors,omitempty"`
	View   *slack.ModalViewRequest `json:"view,omitempty"`
}

// showing answers a submitted form with another view.
func showing(v slack.ModalViewRequest) response {
	return response{ack: submission{Action: "update", View: &v}}
}

// configure answers the form of the settings, later if that takes its time.
func (c *Chat) configure(ctx context.Context, received time.Time, in *interaction, delivery adapters.Delivery, h adapters.Handler) response {
	version, values, ok := in.View.settings()
	if !ok {
		c.log.Warn("a form that we do not offer was submitted")
		return showing(noteView(sayUnknownButton))
	}
	sent := adapters.Configuration{Delivery: delivery, Actor: in.actor(), Place: in.place(), Version: version, Values: values}
	asked := c.asking(context.WithoutCancel(ctx), received, func(ctx context.Context) adapters.Answer { return h.SubmitSettings(ctx, sent) })
	a, inTime := chatkit.AwaitUntil(received.Add(c.within.Think), asked)
	if !inTime {
		wait := showing(noteView(wording.MsgMoment))
		wait.slow, wait.after = true, func(ctx context.Context) {
			a := <-asked
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterTime)
			defer cancel()
			v, ok := viewOf(a)
			if !ok {
				v = noteView("Done")
			}
			if n, no := a.(adapters.Note); no && n.Again {
				if form, ok := in.View.again(n.Text); ok {
					v = form
				}
			}
			if err := c.replace(ctx, in, v); err != nil {
				c.log.Warn("a person was not answered", "actor", sent.Actor.ID, "err", err)
			}
		}
		return wait
	}
	switch a := a.(type) {
	case adapters.Settings:
		errs := map[string]string{}
		for _, f := range a.Fields {
			if _, shown := values[f.Key]; shown && f.Problem != "" {
				errs[settingID(f.Key, version)] = f.Problem
			}
		}
		if a.Version == version && a.Problem == "" && len(errs) > 0 {
			return response{ack: submission{Action: "errors", Errors: errs}} // keeps what was typed
		}
	case adapters.Note:
		if a.Again { // likewise
			return in.View.keeping(a.Text)
		}
	}
	v, ok := viewOf(a)
	if !ok {
		return response{}
	}
	c.lintView(v)
	out := showing(v)
	wait := showing(noteView("One moment…"))
	wait.after = func(ctx context.Context) {
		if err := c.replace(ctx, in, v); err != nil {
			c.log.Warn("a form was not changed", "actor", sent.Actor.ID, "err", err)
		}
	}
	out.fallbackAck = &wait
	return out
}

func (c *Chat) submit(ctx context.Context, received time.Time, in *interaction, delivery adapters.Delivery, h adapters.Handler) response {
	if in.View.CallbackID == settingsForm {
		return c.configure(ctx, received, in, delivery, h)
	}
	s := adapters.Submission{
		Delivery: delivery,
		Actor:    in.actor(),
		Place:    in.place(),
		Verdict:  tickets.Verdict(in.View.CallbackID),
		Form:     in.View.form(),
	}
	s.Number, s.Digest = in.View.about()
	if _, ok := s.Number.Seq(); !ok || (s.Verdict != tickets.Approve && s.Verdict != tickets.Deny) {
		c.log.Warn("a form that we do not offer was submitted")
		return showing(noteView(sayUnknownButton))
	}
	if s.Verdict == tickets.Deny {
		s.Form.Unit, s.Form.Amount = tickets.UnitOnce, ""
	}
	answer := c.ask(ctx, received, func(ctx context.Context) adapters.Answer { return h.Submit(ctx, s) })
	if f, ok := answer.(adapters.Form); ok && len(f.Problems) > 0 && f.Verdict == s.Verdict && f.Ticket.Request.Digest() == s.Digest {
		errs := map[string]string{}
		for field, say := range f.Problems {
			if in.View.shows(field) {
				errs[string(field)] = say
			}
		}
		// Slack takes errors for inputs that are in the view and for nothing
		// else. A problem with a field that is not there yet needs the view.
		if len(errs) == len(f.Problems) {
			return response{ack: submission{Action: "errors", Errors: errs}}
		}
	}
	if n, ok := answer.(adapters.Note); ok && n.Again {
		return in.View.keeping(n.Text)
	}
	v, ok := viewOf(answer)
	if !ok {
		return response{} // an empty answer closes the form
	}
	v = in.marked(v)
	c.lintView(v)
	out := showing(v)
	if in.View.ID != "" {
		wait := showing(noteView("One moment…"))
		wait.after = func(ctx context.Context) {
			if err := c.replace(ctx, in, v); err != nil {
				c.log.Warn("a form was not changed", "ticket", string(s.Number), "actor", s.Actor.ID, "err", err)
			}
		}
		out.fallbackAck = &wait
	}
	return out
}

// answerClick says something to the person who clicked, and to nobody else: in the
// form, over the home tab, or beside the message.
func (c *Chat) answerClick(ctx context.Context, in *interaction, say string) {
	if in.View.Type == homeTab {
		err := c.open(ctx, string(in.TriggerID), noteView(say))
		if err != nil { // it is too late for that
			err = errors.Join(err, c.tellUser(ctx, string(in.User.ID), say))
		}
		if err != nil {
			c.log.Warn("a person was told late, or not at all", "actor", string(in.User.ID), "err", err)
		}
		return
	}
	if in.View.ID != "" {
		if err := c.update(ctx, string(in.View.ID), "", noteView(say)); err != nil {
			c.log.Warn("a person was not answered", "actor", string(in.User.ID), "err", err)
		}
		return
	}
	c.sendEphemeralText(ctx, string(in.ResponseURL), in.channel(), string(in.User.ID), say)
}

// sendEphemeralText says something to one person.
func (c *Chat) sendEphemeralText(ctx context.Context, responseURL, channel, user, say string) {
	text, blocks := note(say)
	c.sendEphemeral(ctx, responseURL, channel, user, text, blocks)
}

// sendEphemeral shows something to one person: by response_url, which works without
// membership, else by chat.postEphemeral.
func (c *Chat) sendEphemeral(ctx context.Context, responseURL, channel, user, text string, blocks []slack.Block) {
	var errs []error
	if responseURL != "" {
		err := c.respond(ctx, responseURL, &slack.WebhookMessage{
			ResponseType: slack.ResponseTypeEphemeral,
			Text:         text,
			Blocks:       &slack.Blocks{BlockSet: blocks},
		})
		if err == nil {
			return
		}
		errs = append(errs, err)
	}
	if channel != "" && user != "" {
		err := c.call(ctx, "chat.postEphemeral", channel, true, func() error {
			_, err := c.api().PostEphemeralContext(ctx, channel, user, slack.MsgOptionText(text, false), slack.MsgOptionBlocks(blocks...))
			return err
		})
		if err == nil {
			return
		}
		errs = append(errs, err)
	}
	c.log.Warn("a person was not answered", "actor", user, "channel", channel, "err", errors.Join(errs...))
}

// maxResponses is how often one answer is sent: a response_url works 5 times
// (docs.slack.dev/interactivity/handling-user-interaction).
const maxResponses = 3

// respond sends m to a response_url. An answer whose fate is unclear is sent
// again: that a person reads it twice is the smaller harm.
func (c *Chat) respond(ctx context.Context, to string, m *slack.WebhookMessage) error {
	if !c.responds(to) {
		return errors.New("the response_url is not of Slack")
	}
	for attempt := 1; ; attempt++ {
		err := slack.PostWebhookCustomHTTPContext(ctx, to, c.http, m)
		if err == nil {
			return nil
		}
		f := failure("response_url", true, err)
		var status slack.StatusCodeError
		refused := errors.As(err, &status) && status.Code/100 == 4 && f.Class != tickets.RateLimited
		if attempt == maxResponses || refused || !chatkit.Sleep(ctx, max(f.RetryAfter, time.Duration(attempt)*againAfter)) {
			return f
		}
		c.log.Warn("an answer is sent again", "err", f)
	}
}

// againAfter is the wait before the second attempt; before the third it is
// twice as long.
const againAfter = 250 * time.Millisecond

// responds reports whether u is a response_url of Slack: whoever could name
// another would make us send people's text there.
func (c *Chat) responds(u string) bool {
	p, err := url.Parse(u)
	if err != nil || p.User != nil {
		return false
	}
	if p.Scheme == "https" && (p.Host == "hooks.slack.com" || p.Host == "hooks."+c.base.Host) {
		return true
	}
	return p.Scheme == c.base.Scheme && p.Host == c.base.Host
}

// commandText is a slash command (docs.slack.dev/interactivity/implementing-slash-commands).
type commandText struct {
	AppID        text `json:"api_app_id"`
	TeamID       text `json:"team_id"`
	EnterpriseID text `json:"enterprise_id"`
	ChannelID    text `json:"channel_id"`
	UserID       text `json:"user_id"`
	UserName     text `json:"user_name"`
	Text         text `json:"text"`
	ResponseURL  text `json:"response_url"`
	TriggerID    text `json:"trigger_id"`
}

// key is under which a command is remembered. Slack gives each its own trigger
// and its own response_url.
func (in *commandText) key() string {
	return strings.Join([]string{"command", string(in.UserID), string(in.TriggerID), string(in.ResponseURL), string(in.ChannelID), string(in.Text)}, "\x00")
}

func commandOf(v url.Values) commandText {
	get := func(k string) text { return text(v.Get(k)) }
	return commandText{
		AppID: get("api_app_id"), TeamID: get("team_id"), EnterpriseID: get("enterprise_id"), ChannelID: get("channel_id"),
		UserID: get("user_id"), UserName: get("user_name"), Text: get("text"), ResponseURL: get("response_url"), TriggerID: get("trigger_id"),
	}
}

// commandAnswer is what Slack shows to the person who typed a command.
type commandAnswer struct {
	ResponseType string        `json:"response_type"`
	Text         string        `json:"text"`
	Blocks       []slack.Block `json:"blocks,omitempty"`
}

func (c *Chat) command(ctx context.Context, received time.Time, in commandText, h adapters.Handler) response {
	known, cancel := context.WithDeadline(ctx, received.Add(c.within.Think))
	defer cancel()
	if stop := c.strangerCheck(known, sender{
		app: string(in.AppID), team: string(in.TeamID), enterprise: string(in.EnterpriseID), user: string(in.UserID), typed: true,
	}); stop != "" {
		return c.answering(&in, stop)
	}
	key := in.key()
	act := func() response {
		cmd := adapters.Command{
			Delivery: deliveryOf(key),
			Actor:    tickets.Actor{Platform: Platform, ID: string(in.UserID), Name: string(in.UserName)},
			Place:    tickets.Place{Platform: Platform, Channel: string(in.ChannelID)},
			Text:     unescape(string(in.Text)),
		}
		asked := c.asking(ctx, received, func(ctx context.Context) adapters.Answer { return h.Command(ctx, cmd) })
		if a, ok := chatkit.AwaitUntil(received.Add(c.within.Think), asked); ok {
			return c.answerCommand(ctx, received, &in, a)
		}
		s := c.answering(&in, wording.MsgMoment)
		s.slow, s.after = true, func(ctx context.Context) { c.answerLate(ctx, &in, <-asked) }
		return s
	}
	wait, cancel := context.WithDeadline(ctx, received.Add(c.within.Ack))
	defer cancel()
	return c.once(wait, "command\x00"+string(in.TriggerID)+"\x00"+string(in.UserID), response{}, act)
}

// asking begins what may take its time.
func (c *Chat) asking(ctx context.Context, received time.Time, call func(context.Context) adapters.Answer) <-chan adapters.Answer {
	asked := make(chan adapters.Answer, 1)
	select {
	case c.commands <- struct{}{}:
	default:
		c.log.Warn("too many commands at once, one is refused")
		asked <- adapters.Note{Text: wording.MsgBusy, Again: true}
		return asked
	}
	go func() {
		defer func() { <-c.commands }()
		ctx, end := c.work.Within(ctx)
		defer end()
		asked <- chatkit.CallHandler(ctx, received.Add(adapters.CommandTime), c.log, call)
	}()
	return asked
}

// answering says something to the person who typed a command.
func (c *Chat) answering(in *commandText, say string) response {
	text, blocks := note(say)
	return response{
		ack: commandAnswer{slack.ResponseTypeEphemeral, text, blocks},
		fallbackAck: &response{after: func(ctx context.Context) {
			c.sendEphemeralText(ctx, string(in.ResponseURL), string(in.ChannelID), string(in.UserID), say)
		}},
	}
}

// answerCommand is the answer to a command in time.
func (c *Chat) answerCommand(ctx context.Context, received time.Time, in *commandText, a adapters.Answer) response {
	switch a := a.(type) {
	case adapters.Note:
		return c.answering(in, a.Text)
	case adapters.Page:
		text, blocks := pages(a)
		return response{ack: commandAnswer{slack.ResponseTypeEphemeral, text, blocks}, fallbackAck: c.answering(in, a.Text).fallbackAck}
	case adapters.Form, adapters.Details, adapters.Settings:
		v, _ := viewOf(a)
		ctx, cancel := context.WithDeadline(ctx, received.Add(c.within.Open))
		defer cancel()
		if err := c.open(ctx, string(in.TriggerID), v); err != nil {
			c.log.Warn("a form did not open", "actor", string(in.UserID), "err", err)
			if s, ok := a.(adapters.Settings); ok {
				return c.answering(in, s.Text)
			}
			return c.answering(in, sayNotOpened)
		}
	}
	return response{}
}

// answerLate says a when Slack has had its answer, and opens no form any more.
func (c *Chat) answerLate(ctx context.Context, in *commandText, a adapters.Answer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterTime)
	defer cancel()
	c.sendLate(ctx, string(in.ResponseURL), string(in.ChannelID), string(in.UserID), a)
}

func (c *Chat) sendLate(ctx context.Context, responseURL, channel, user string, a adapters.Answer) {
	text, blocks := note("Done")
	switch a := a.(type) {
	case adapters.Note:
		text, blocks = note(a.Text)
	case adapters.Page:
		text, blocks = pages(a)
	case adapters.Settings:
		text, blocks = note(a.Text)
	case adapters.Form, adapters.Details:
		text, blocks = note(wording.MsgAgain)
	}
	c.sendEphemeral(ctx, responseURL, channel, user, text, blocks)
}

var mentioned = regexp.MustCompile(`<(@|#|!subteam\^|https?://|mailto:)([^<>|]*)(?:\|([^<>]*))?>`)

// unescape turns what Slack makes of mentions in a command into the words
// that name them everywhere else: slack:U…, slack:group:S…, slack:channel:C….
func unescape(s string) string {
	s = mentioned.ReplaceAllStringFunc(s, func(m string) string {
		p := mentioned.FindStringSubmatch(m)
		switch p[1] {
		case "@":
			return "slack:" + p[2]
		case "#":
			return "slack:channel:" + p[2]
		case "!subteam^":
			return "slack:group:" + p[2]
		case "mailto:":
			return p[2]
		}
		return p[1] + p[2]
	})
	return html.UnescapeString(s)
}

// event is a delivery of the Events API, as much of it as we use.
type event struct {
	Type         text `json:"type"`
	Challenge    text `json:"challenge"`
	AppID        text `json:"api_app_id"`
	TeamID       text `json:"team_id"`
	EnterpriseID text `json:"enterprise_id"`
	Event        struct {
		Type   text `json:"type"`
		User   text `json:"user"`
		Tab    text `json:"tab"`
		View   view `json:"view"`
		Tokens struct {
			Bot []text `json:"bot"`
		} `json:"tokens"`
	} `json:"event"`
}

// event answers a delivery of the Events API. Without a Handler what asks for
// one is left alone.
func (c *Chat) event(payload []byte, h adapters.Handler) response {
	var e event
	if err := jsonx.IgnoreTypeErrors(json.Unmarshal(payload, &e)); err != nil {
		c.log.Warn("an event is not JSON, acknowledged", "err", describe(err))
		return response{}
	}
	if e.Type == "url_verification" {
		return response{ack: map[string]string{"challenge": string(e.Challenge)}}
	}
	c.mu.Lock()
	self := c.self
	c.mu.Unlock()
	// Before Slack has told who we are nothing is remembered, and what cannot
	// be placed has no effect.
	if self == nil || c.isForeign(string(e.AppID)) || !c.isOurs(*self, string(e.TeamID)) && !c.isOurs(*self, string(e.EnterpriseID)) {
		c.log.Warn("an event of another app or workspace was ignored", "type", word(string(e.Event.Type)))
		return response{}
	}
	switch kind := string(e.Event.Type); {
	case kind == "app_uninstalled", kind == "tokens_revoked" && len(e.Event.Tokens.Bot) > 0:
		return response{after: func(ctx context.Context) {
			// It may be late, or of a token that was replaced.
			err := c.call(ctx, "auth.test", "", false, func() error { _, err := c.api().AuthTestContext(ctx); return err })
			if err == nil {
				c.log.Info("slack took the app or a token of it away, but not the bot token in use", "type", kind)
			} else if tickets.FailureOf(err).Class == tickets.Unauthorized {
				c.fail(errUninstalled(kind))
			}
		}}
	case strings.HasPrefix(kind, "subteam_"), kind == "member_joined_channel", kind == "member_left_channel":
		c.members.Clear()
		c.people.Clear()
		c.hidden.Clear()
	case kind == "app_home_opened":
		return c.homeOpened(&e, h)
	default:
		c.log.Debug("an event was acknowledged", "type", word(kind))
	}
	return response{}
}

func errUninstalled(event string) error {
	return fmt.Errorf("slack: %s: install the app again and set its new bot token", event)
}

// Endpoints are the signed paths. There are none without a signing secret.
func (c *Chat) Endpoints(h adapters.Handler) map[string]http.Handler {
	if len(c.cfg.SigningSecrets) == 0 {
		return nil
	}
	return map[string]http.Handler{
		"/slack/interactions": c.signed(func(ctx context.Context, received time.Time, body []byte) (response, error) {
			v, err := url.ParseQuery(string(body))
			if err != nil || v.Get("payload") == "" {
				return response{}, errNoPayload
			}
			return c.interact(ctx, received, []byte(v.Get("payload")), h), nil
		}),
		"/slack/commands": c.signed(func(ctx context.Context, received time.Time, body []byte) (response, error) {
			v, err := url.ParseQuery(string(body))
			if err != nil {
				return response{}, errNoPayload
			}
			return c.command(ctx, received, commandOf(v), h), nil
		}),
		"/slack/events": c.signed(func(_ context.Context, _ time.Time, body []byte) (response, error) {
			if !json.Valid(body) {
				return response{}, errNoPayload
			}
			return c.event(body, h), nil
		}),
	}
}

var errNoPayload = errors.New("the body is not what Slack sends")

// signed lets only Slack in. The signature covers the raw body and the time,
// and counts once (docs.slack.dev/authentication/verifying-requests-from-slack).
func (c *Chat) signed(answer func(context.Context, time.Time, []byte) (response, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		received := time.Now()
		body, ok := c.requests.Read(w, r)
		if !ok {
			return
		}
		c.work.Begin()
		defer c.work.End()
		// Slack hanging up does not undo what a person did.
		ctx := context.WithoutCancel(r.Context())
		s, err := answer(ctx, received, body)
		if err != nil {
			c.log.Warn("a signed request was not understood", "path", r.URL.Path, "err", err)
			http.Error(w, http.StatusText(http.StatusBadRequest), http.StatusBadRequest)
			return
		}
		if s.ack != nil {
			out, err := jsonx.Encode(s.ack)
			if err != nil {
				c.log.Error("an answer cannot be written", "err", err)
				http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
				return
			}
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			w.Header().Set("Content-Length", fmt.Sprint(len(out)))
			_, _ = w.Write(out) // a sender that hung up sends again
		} else {
			w.Header().Set("Content-Length", "0")
			w.WriteHeader(http.StatusOK)
		}
		if s.after != nil {
			// The answer, and what comes next over this connection, must not
			// wait for what follows.
			c.work.Begin()
			go func() {
				defer c.work.End()
				c.follow(ctx, s)
			}()
		}
	})
}

// follow does what comes after an answer.
func (c *Chat) follow(ctx context.Context, s response) {
	patience := afterTime
	if s.slow {
		patience += adapters.CommandTime
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic after an answer", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
		}
	}()
	s.after(ctx)
}

// The headers of a signed request
// (docs.slack.dev/authentication/verifying-requests-from-slack).
const (
	stampHeader     = "X-Slack-Request-Timestamp"
	signatureHeader = "X-Slack-Signature"
)

var signatureShape = regexp.MustCompile(`^v0=[0-9a-fA-F]{64}$`)

// stamp is when a request with such headers was signed.
func stamp(h http.Header) (seconds int64, ok bool) {
	seconds, err := strconv.ParseInt(h.Get(stampHeader), 10, 64)
	return seconds, err == nil && signatureShape.MatchString(h.Get(signatureHeader))
}

// verify says why body was not signed by Slack with one of the secrets, now and
// as far as is known here for the first time. No header is believed that is not
// signed, such as that which marks a retry: one that was made in the same second
// as the first attempt is refused, and has no effect that the first had not.
func (c *Chat) verify(h http.Header, body []byte) signed.Reason {
	got, _ := hex.DecodeString(strings.TrimPrefix(h.Get(signatureHeader), "v0=")) // stamp has seen its shape
	for _, secret := range c.secrets().SigningSecrets {
		sum := hmac.New(sha256.New, []byte(secret))
		sum.Write([]byte("v0:" + h.Get(stampHeader) + ":"))
		sum.Write(body)
		if !hmac.Equal(got, sum.Sum(nil)) {
			continue
		}
		key := "signature\x00" + h.Get(stampHeader) + "\x00" + strings.ToLower(h.Get(signatureHeader))
		if !c.seen.New(key) {
			return signed.Replayed
		}
		return ""
	}
	return signed.Signature
}
