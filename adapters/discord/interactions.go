package discord

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bwmarrin/discordgo"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/chatkit"
	"github.com/countersign/countersign/adapters/chatkit/jsonx"
	"github.com/countersign/countersign/adapters/chatkit/neterr"
	"github.com/countersign/countersign/adapters/chatkit/signed"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// afterTime is for what is said after the answer.
const afterTime = 10 * time.Second

// The types of interactions.
const (
	typePing     = 1
	typeCommand  = 2
	typeClick    = 3
	typeComplete = 4
	typeSubmit   = 5
)

// The types of answers.
const (
	answerPong     = 1
	answerMessage  = 4
	answerDeferred = 5
	answerNothing  = 6
	answerUpdate   = 7
	answerComplete = 8
	answerModal    = 9
)

// response is the answer to one interaction.
type response struct {
	ack       answer
	followUps []message // said after it, to the same person alone
	// deferred waits for what the body, a deferred answer, will show, and for what
	// is said after that; nil if the body shows it.
	deferred func() (message, []message)
}

type answer struct {
	Type int `json:"type"`
	Data any `json:"data,omitempty"`
}

// interaction is whatever a person did, as much of it as we use.
type interaction struct {
	ID            jsonx.LooseString `json:"id"`
	ApplicationID jsonx.LooseString `json:"application_id"`
	Type          int               `json:"type"`
	Token         jsonx.LooseString `json:"token"`
	GuildID       jsonx.LooseString `json:"guild_id"`
	ChannelID     jsonx.LooseString `json:"channel_id"`
	Member        member            `json:"member"`
	Message       struct {
		Flags      int             `json:"flags"`
		Components json.RawMessage `json:"components"`
	} `json:"message"`
	Data json.RawMessage `json:"data"`
}

// member is a person in the server.
type member struct {
	Nick  jsonx.LooseString   `json:"nick"`
	Roles []jsonx.LooseString `json:"roles"`
	User  user                `json:"user"`
}

// names are what m is called, the name in the server first.
func (m *member) names() []string {
	var list []string
	for _, name := range []jsonx.LooseString{m.Nick, m.User.GlobalName, m.User.Username} {
		if name != "" {
			list = append(list, string(name))
		}
	}
	return list
}

type user struct {
	ID         jsonx.LooseString `json:"id"`
	Username   jsonx.LooseString `json:"username"`
	GlobalName jsonx.LooseString `json:"global_name"`
}

func (in *interaction) actor() tickets.Actor {
	a := tickets.Actor{Platform: Platform, ID: string(in.Member.User.ID)}
	if names := in.Member.names(); len(names) > 0 {
		a.Name = names[0]
	}
	return a
}

// delivery names what the person did: Discord gives each its own id, which it
// signs.
func (in *interaction) delivery() adapters.Delivery { return adapters.Delivery(in.ID) }

func (in *interaction) place() tickets.Place {
	if in.ChannelID == "" {
		return tickets.Place{}
	}
	return tickets.Place{Platform: Platform, Channel: string(in.ChannelID)}
}

// private reports whether the interaction is about a message that only this
// person sees: a form that had a mistake.
func (in *interaction) private() bool { return in.Message.Flags&flagEphemeral != 0 }

// decode reads an interaction from either way in. It fails only if it is no
// JSON.
func decode(raw []byte) (*interaction, error) {
	var in interaction
	if err := jsonx.IgnoreTypeErrors(json.Unmarshal(raw, &in)); err != nil {
		return nil, err
	}
	return &in, nil
}

// customIDOf is what was clicked or sent.
func (in *interaction) customID() string {
	var data component
	_ = json.Unmarshal(in.Data, &data) // what cannot be read is not offered by us
	return string(data.CustomID)
}

// chosen is the one value that was chosen from a menu, or empty.
func (in *interaction) chosen() tickets.State {
	var data struct {
		Values []jsonx.LooseString `json:"values"`
	}
	_ = json.Unmarshal(in.Data, &data) // what cannot be read is not offered by us
	if len(data.Values) != 1 {
		return ""
	}
	return tickets.State(data.Values[0])
}

// form is what is typed in a submitted form.
func (in *interaction) form() tickets.Form {
	var f tickets.Form
	eachComponent(in.Data, func(c *component) {
		var value jsonx.LooseString
		_ = json.Unmarshal(c.Value, &value) // never fails; none is empty
		switch tickets.FormField(c.CustomID) {
		case tickets.FieldReason:
			f.Reason = string(value)
		case tickets.FieldUnit:
			f.Unit = tickets.Unit(value)
		case tickets.FieldAmount:
			f.Amount = string(value)
		}
	})
	return f
}

// strangerCheck says why the sender of in may not act here, or "". It knows nothing
// about roles: only whether this is our application, our server and a member
// of it.
func (c *Chat) strangerCheck(in *interaction) string {
	switch {
	case string(in.ApplicationID) != c.cfg.ApplicationID:
		c.log.Warn("an interaction for another application was refused")
		return wording.MsgStranger
	case string(in.GuildID) != c.cfg.Guild, !IsID(string(in.Member.User.ID)):
		c.log.Warn("somebody of another server was refused")
		return wording.MsgStranger
	}
	return ""
}

// ask makes one call of the Handler within its time.
func (c *Chat) ask(ctx context.Context, received time.Time, call func(context.Context) adapters.Answer) adapters.Answer {
	return chatkit.CallHandler(ctx, received.Add(c.within.Think), c.log, call)
}

// interact is the answer to in, which must be new: one that comes again, as
// with two connections or when somebody replays it, must have no effect.
func (c *Chat) interact(ctx context.Context, received time.Time, in *interaction, h adapters.Handler) response {
	if stop := c.strangerCheck(in); stop != "" {
		return telling(in, stop)
	}
	roles := make([]string, len(in.Member.Roles))
	for i, r := range in.Member.Roles {
		roles[i] = string(r)
	}
	c.roles.Put(string(in.Member.User.ID), roles)
	if names := in.Member.names(); len(names) > 0 {
		c.names.Put(string(in.Member.User.ID), names)
	}
	switch in.Type {
	case typeCommand:
		return c.command(ctx, received, in, h)
	case typeClick:
		return c.click(ctx, received, in, h)
	case typeSubmit:
		return c.submit(ctx, received, in, h)
	case typeComplete:
		return c.suggest(ctx, received, in, h)
	}
	c.log.Warn("an interaction of a kind that we do not offer", "type", in.Type)
	return telling(in, sayUnknownButton)
}

const (
	sayUnknownButton = "This button belongs to another version of Countersign. Please use the newest message of the ticket"
	sayNotTaken      = "Discord did not take Countersign's answer. Please look at the request's message, and tell your admin if this happens again"
	saySent          = "Sent. The message of %s shows what comes of it"
)

func (c *Chat) click(ctx context.Context, received time.Time, in *interaction, h adapters.Handler) response {
	if command, ok := parseTurn(in.customID()); ok {
		return c.run(ctx, received, in, adapters.Command{Text: command, Turned: true}, h)
	}
	action, digest, number, ok := parseCustomID(in.customID())
	if !ok {
		c.log.Warn("a click on something that we do not offer")
		return telling(in, sayUnknownButton)
	}
	click := adapters.Click{Delivery: in.delivery(), Actor: in.actor(), Place: in.place(), Number: number, Digest: digest, Private: in.private(), Action: action}
	if action == adapters.ActionState {
		click.State = in.chosen()
	}
	verdict, form, again := in.typed()
	if again {
		click.Action, click.Verdict, click.Form = adapters.ActionForm, verdict, form
	}
	a := c.ask(ctx, received, func(ctx context.Context) adapters.Answer { return h.Click(ctx, click) })
	if n, no := a.(adapters.Note); no && n.Again && again {
		return in.again(n.Text)
	}
	return c.say(in, a)
}

func (c *Chat) submit(ctx context.Context, received time.Time, in *interaction, h adapters.Handler) response {
	action, digest, number, ok := parseCustomID(in.customID())
	s := adapters.Submission{Delivery: in.delivery(), Actor: in.actor(), Place: in.place(), Number: number, Digest: digest, Verdict: tickets.Verdict(action), Form: in.form()}
	switch {
	case !ok || (s.Verdict != tickets.Approve && s.Verdict != tickets.Deny):
		c.log.Warn("a form that we do not offer was submitted")
		return telling(in, sayUnknownButton)
	case s.Verdict == tickets.Deny:
		s.Form.Unit, s.Form.Amount = tickets.UnitOnce, ""
	}
	switch a := c.ask(ctx, received, func(ctx context.Context) adapters.Answer { return h.Submit(ctx, s) }).(type) {
	case adapters.Form:
		// A form must not be answered with a form.
		return answering(in, retryMessage(a, customID(adapters.Action(a.Verdict), a.Ticket.Request.Digest(), a.Ticket.Number)))
	case adapters.Note:
		if a.Again {
			return in.again(a.Text)
		}
		return c.say(in, a)
	case adapters.Done:
		if in.private() {
			return telling(in, fmt.Sprintf(saySent, number))
		}
		return c.say(in, a)
	default:
		return c.say(in, a)
	}
}

// say is a in Discord's protocol.
func (c *Chat) say(in *interaction, a adapters.Answer) response {
	switch a := a.(type) {
	case adapters.Form:
		return response{ack: answer{answerModal, formModal(a)}}
	case adapters.Details:
		all := detailsMessages(a.Ticket)
		return response{ack: answer{answerMessage, all[0]}, followUps: all[1:]}
	case adapters.Note:
		s := telling(in, a.Text)
		s.followUps = pictureOf(a)
		return s
	case adapters.Settings:
		return telling(in, a.Text)
	case adapters.Page:
		return answering(in, pages(a))
	}
	if in.Type == typeCommand {
		return telling(in, "Done")
	}
	return response{ack: answer{Type: answerNothing}}
}

// telling says something to the person who acted, and to nobody else.
func telling(in *interaction, text string) response { return answering(in, note(text)) }

// answering shows m to the person who acted, in place of the message that
// only they saw, if it is that one on which they acted.
func answering(in *interaction, m message) response {
	if in.Type == typeComplete {
		return choices(nil) // which is all that can be said
	}
	if in.private() && (in.Type == typeClick || in.Type == typeSubmit) {
		return response{ack: answer{answerUpdate, m}}
	}
	m.Flags |= flagEphemeral
	return response{ack: answer{answerMessage, m}}
}

func (c *Chat) command(ctx context.Context, received time.Time, in *interaction, h adapters.Handler) response {
	text, ok := commandText(in.Data)
	if !ok {
		c.log.Warn("a command that we do not offer")
		return telling(in, sayUnknownCommand)
	}
	return c.run(ctx, received, in, adapters.Command{Text: text}, h)
}

// run answers cmd, later if it takes its time: until then the person reads
// that the bot thinks, or still what they clicked on.
func (c *Chat) run(ctx context.Context, received time.Time, in *interaction, cmd adapters.Command, h adapters.Handler) response {
	cmd.Delivery, cmd.Actor, cmd.Place = in.delivery(), in.actor(), in.place()
	asked := c.asking(context.WithoutCancel(ctx), received, h, cmd)
	if a, ok := chatkit.AwaitUntil(received.Add(c.within.Think), asked); ok {
		if n, failed := a.(adapters.Note); failed && cmd.Turned { // the page stays
			m := note(n.Text)
			m.Flags |= flagEphemeral
			return response{ack: answer{answerMessage, m}}
		}
		return c.say(in, a)
	}
	s := response{
		ack:      answer{answerDeferred, map[string]int{"flags": flagEphemeral}},
		deferred: func() (message, []message) { a := <-asked; return lateMessage(a), pictureOf(a) },
	}
	if in.Type == typeClick && in.private() {
		s.ack = answer{Type: answerNothing} // which leaves @original what was clicked
	}
	return s
}

// asking begins a command, which may take its time.
func (c *Chat) asking(ctx context.Context, received time.Time, h adapters.Handler, cmd adapters.Command) <-chan adapters.Answer {
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
		asked <- chatkit.CallHandler(ctx, received.Add(adapters.CommandTime), c.log, func(ctx context.Context) adapters.Answer { return h.Command(ctx, cmd) })
	}()
	return asked
}

// lateMessage shows a after another answer, which no form may follow.
func lateMessage(a adapters.Answer) message {
	switch a := a.(type) {
	case adapters.Note:
		return note(a.Text)
	case adapters.Settings:
		return note(a.Text)
	case adapters.Page:
		return pages(a)
	case adapters.Form:
		return note(wording.MsgAgain)
	case adapters.Details:
		return note(wording.MsgAgain)
	}
	return note("Done")
}

// deliver answers an interaction of the gateway, and does what follows the
// answer. It calls free before that: what is said late holds no place that a
// click needs.
func (c *Chat) deliver(ctx context.Context, received time.Time, in *interaction, h adapters.Handler, free func()) {
	ctx, cancel := context.WithDeadline(ctx, received.Add(c.within.Ack))
	defer cancel()
	if !c.seen.New(string(in.ID)) || !c.claimInteraction(ctx, string(in.ID), received) {
		return // whoever took it first answers
	}
	s := c.interact(ctx, received, in, h)
	err := c.callback(ctx, in, s.ack)
	if codeOf(err) == codeInvalid {
		c.log.Error("discord refuses an answer, sending words instead", "err", err)
		s = telling(in, sayNotTaken)
		err = c.callback(ctx, in, s.ack)
	}
	if err != nil {
		c.log.Warn("a person was not answered", "actor", string(in.Member.User.ID), "after", time.Since(received).Round(time.Millisecond), "err", err)
		if s.deferred == nil {
			return
		} // else it may have got through
	}
	free()
	c.follow(context.WithoutCancel(ctx), in, s)
}

// callback sends the answer to in. It counts towards no limit that others
// use. An answer whose fate is unclear is sent again: Discord takes one.
func (c *Chat) callback(ctx context.Context, in *interaction, body answer) error {
	r := request{method: http.MethodPost, route: routeCallback, path: "/interactions/" + string(in.ID) + "/" + string(in.Token) + "/callback", effect: true, body: body}
	for attempt := 1; ; attempt++ {
		err := c.api.call(ctx, nil, r, nil)
		if err == nil || (attempt > 1 && codeOf(err) == codeAcknowledged) {
			return nil
		}
		f := tickets.FailureOf(err)
		if attempt == 3 || (f.Class != tickets.Ambiguous && f.Class != tickets.Unavailable) || !chatkit.Sleep(ctx, time.Duration(attempt)*50*time.Millisecond) {
			return err
		}
	}
}

// follow says the rest after an answer.
func (c *Chat) follow(ctx context.Context, in *interaction, s response) {
	var late message
	if s.deferred != nil {
		late, s.followUps = s.deferred()
	}
	ctx, cancel := context.WithTimeout(ctx, afterTime)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic after an answer", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
		}
	}()
	if s.deferred != nil {
		if err := c.complete(ctx, in, late); err != nil {
			c.log.Warn("a person was not answered", "actor", string(in.Member.User.ID), "err", err)
		}
	}
	for _, m := range s.followUps {
		if err := c.followUp(ctx, in, m); err != nil {
			c.log.Warn("a person was not told the rest", "actor", string(in.Member.User.ID), "err", err)
			return
		}
	}
}

// followUp says one more thing. Until Discord has read an answer that went
// out over HTTP it knows of none to follow.
func (c *Chat) followUp(ctx context.Context, in *interaction, m message) error {
	r := request{method: http.MethodPost, route: routeFollowUp, path: "/webhooks/" + c.cfg.ApplicationID + "/" + string(in.Token), effect: true, body: m, picture: m.picture}
	for attempt := 1; ; attempt++ {
		err := c.api.call(ctx, nil, r, nil)
		if codeOf(err) != codeUnknownWebhook || attempt == 5 || !chatkit.Sleep(ctx, time.Duration(attempt)*100*time.Millisecond) {
			return err
		}
	}
}

// complete puts m into the answer that was deferred, which may be repeated. A
// token is good for 15 minutes, far longer than a command lasts.
func (c *Chat) complete(ctx context.Context, in *interaction, m message) error {
	m.Flags &^= flagEphemeral // who sees it was said when it was deferred
	r := request{method: http.MethodPatch, route: routeOriginal, path: "/webhooks/" + c.cfg.ApplicationID + "/" + string(in.Token) + "/messages/@original", body: m}
	for attempt := 1; ; attempt++ {
		err := c.api.call(ctx, nil, r, nil)
		if codeOf(err) == codeInvalid {
			c.log.Error("discord refuses an answer, sending words instead", "err", err)
			r.body = note(sayNotTaken)
			err = c.api.call(ctx, nil, r, nil)
		}
		f := tickets.FailureOf(err)
		again := codeOf(err) == codeUnknownWebhook || f.Class == tickets.Ambiguous || f.Class == tickets.Unavailable || f.Class == tickets.RateLimited
		if err == nil || !again || attempt == 5 || !chatkit.Sleep(ctx, max(f.RetryAfter, time.Duration(attempt)*200*time.Millisecond)) {
			return err
		}
		c.log.Warn("an answer is sent again", "err", err)
	}
}

// interactionsPath is where Discord sends signed interactions.
const interactionsPath = "/discord/interactions"

// Endpoints are the signed paths. There are none in gateway mode: Discord
// sends to one of the two.
func (c *Chat) Endpoints(h adapters.Handler) map[string]http.Handler {
	if !c.cfg.HTTP {
		return nil
	}
	return map[string]http.Handler{interactionsPath: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.receive(w, r, h) })}
}

// receive answers a signed delivery.
func (c *Chat) receive(w http.ResponseWriter, r *http.Request, h adapters.Handler) {
	received := time.Now()
	fail := func(status int) { http.Error(w, http.StatusText(status), status) }
	body, ok := c.requests.Read(w, r)
	if !ok {
		return
	}
	in, err := decode(body)
	if err != nil {
		c.log.Warn("a signed request was not understood", "err", neterr.Describe(err))
		fail(http.StatusBadRequest)
		return
	}
	if in.Type == typePing {
		c.answer(w, answer{Type: answerPong})
		return
	}
	c.work.Begin()
	defer c.work.End()
	// Discord hanging up does not undo what a person did.
	ctx := context.WithoutCancel(r.Context())
	think, cancel := context.WithDeadline(ctx, received.Add(c.within.Ack))
	defer cancel()
	var first response
	s, again := c.seen.Once(think, string(in.ID), func() response {
		if !c.claimInteraction(think, string(in.ID), received) {
			return response{} // somebody sends again what another replica has answered
		}
		first = c.interact(think, received, in, h)
		return response{ack: first.ack} // what follows is not said twice
	})
	if again {
		c.log.Warn("a signed request came twice")
	}
	if s.ack.Type == 0 { // the first one is still at work
		fail(http.StatusServiceUnavailable)
		return
	}
	taken := c.answer(w, s.ack)
	if first.deferred == nil && (!taken || len(first.followUps) == 0) {
		return
	}
	// The answer, and what comes next over this connection, must not wait for
	// what follows.
	c.work.Begin()
	go func() {
		defer c.work.End()
		c.follow(ctx, in, first)
	}()
}

// answer writes a, and reports whether it could.
func (c *Chat) answer(w http.ResponseWriter, a answer) bool {
	out, err := jsonx.Encode(a)
	if err != nil {
		c.log.Error("an answer cannot be written", "err", err)
		http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
		return false
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(out)))
	_, err = w.Write(out)
	return err == nil
}

// The headers of a signed request
// (discord.com/developers/docs/interactions/overview#setting-up-an-endpoint).
const (
	stampHeader     = "X-Signature-Timestamp"
	signatureHeader = "X-Signature-Ed25519"
)

var signatureShape = regexp.MustCompile(`^[0-9a-fA-F]{128}$`)

// stamp is when a request with such headers was signed.
func stamp(h http.Header) (seconds int64, ok bool) {
	seconds, err := strconv.ParseInt(strings.TrimSpace(h.Get(stampHeader)), 10, 64)
	return seconds, err == nil && signatureShape.MatchString(h.Get(signatureHeader))
}

// verify says why body was not signed by Discord.
func (c *Chat) verify(h http.Header, body []byte) signed.Reason {
	if !discordgo.VerifyInteraction(&http.Request{Header: h, Body: io.NopCloser(bytes.NewReader(body))}, c.key) {
		return signed.Signature
	}
	return ""
}

// onInteraction takes an interaction of the gateway, which has been counted
// as being worked on. One of the time in which the session was cut is late: if
// Discord has told the person already that it failed, it has no effect.
func (c *Chat) onInteraction(ctx context.Context, raw []byte, late bool, h adapters.Handler, slots *slots) {
	received := time.Now()
	defer c.work.End()
	defer func() {
		if p := recover(); p != nil {
			c.log.Error("panic in an interaction", "err", fmt.Sprintf("panic: %T\n%s", p, debug.Stack()))
		}
	}()
	in, err := decode(raw)
	if err != nil {
		c.log.Warn("an interaction is not JSON", "err", neterr.Describe(err))
		return
	}
	if at, ok := sentAt(string(in.ID)); late && ok && at.Before(received) {
		if received.Sub(at) > c.within.Ack {
			c.log.Info("an interaction came too late to be answered")
			return
		}
		received = at
	}
	done, ok := slots.take()
	if ok {
		free := sync.OnceFunc(done)
		defer free()
		c.deliver(ctx, received, in, h, free)
		return
	}
	if done, ok = slots.refuse(); !ok {
		c.log.Error("too many interactions at once, one is dropped")
		return
	}
	defer done()
	c.log.Warn("too many interactions at once, one is refused")
	ctx, cancel := context.WithDeadline(ctx, received.Add(c.within.Ack))
	defer cancel()
	if err := c.callback(ctx, in, in.again(wording.MsgBusy).ack); err != nil && !errors.Is(err, context.Canceled) {
		c.log.Warn("a person was not answered", "err", err)
	}
}

// slots bounds what is worked on at once.
type slots struct{ work, refusals chan struct{} }

func newSlots(n int) *slots {
	return &slots{work: make(chan struct{}, n), refusals: make(chan struct{}, n)}
}

func (s *slots) take() (done func(), ok bool)   { return takeFrom(s.work) }
func (s *slots) refuse() (done func(), ok bool) { return takeFrom(s.refusals) }

func takeFrom(c chan struct{}) (func(), bool) {
	select {
	case c <- struct{}{}:
		return func() { <-c }, true
	default:
		return nil, false
	}
}
