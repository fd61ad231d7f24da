package discordtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// What stops a person.
var (
	ErrNoSuchMessage = errors.New("no such message")
	ErrNoSuchButton  = errors.New("no such button")
	ErrDisabled      = errors.New("the button is disabled")
	ErrNoForm        = errors.New("no form is open")
	ErrNoSuchField   = errors.New("no such field in the form")
	ErrNoSuchOption  = errors.New("no such option")
	ErrNoSuchChannel = errors.New("no such channel")
	ErrNoSuchCommand = errors.New("no such command")
	ErrMissing       = errors.New("this option is required")
)

// BlockedError is Discord's own client refusing to submit a form; the bot hears nothing of it.
type BlockedError struct{ Fields map[string]string } // by custom id

func (e *BlockedError) Error() string {
	var b strings.Builder
	b.WriteString("the form cannot be submitted")
	for _, k := range sortedKeys(e.Fields) {
		fmt.Fprintf(&b, "; %s: %s", k, e.Fields[k])
	}
	return b.String()
}

// Person does what a member of the guild can do in Discord's client. Its
// methods may be used from many goroutines; calls wait for the bot's answer,
// at most Config.AckWait, and fail with [ErrNoAnswer] without one.
type Person struct {
	s  *Server
	id string
}

// Person is the user with this id, which should have been added before.
func (s *Server) Person(userID string) *Person { return &Person{s: s, id: userID} }

// ID is the user's id.
func (p *Person) ID() string { return p.id }

// look finds a message that the person sees.
func (p *Person) look(channel, id string) *message {
	if m := p.s.whisper(p.id, id); m != nil && !m.hidden && m.Channel == channel {
		return m
	}
	if p.s.permissions(p.id, p.s.channels[channel])&ViewChannel == 0 {
		return nil
	}
	return p.s.message(channel, id)
}

// Click presses a button of a message, ephemeral or not, and waits for the
// bot's answer. See [Person.ClickRaw] for buttons that are not there.
func (p *Person) Click(ctx context.Context, channel, message, customID string) error {
	return p.use(ctx, channel, message, customID, nil)
}

// Select chooses values of a select of a message.
func (p *Person) Select(ctx context.Context, channel, message, customID string, values ...string) error {
	return p.use(ctx, channel, message, customID, append([]string{}, values...))
}

func (p *Person) use(ctx context.Context, channel, message, customID string, values []string) error {
	s := p.s
	s.mu.Lock()
	m := p.look(channel, message)
	if m == nil {
		s.mu.Unlock()
		return ErrNoSuchMessage
	}
	var c map[string]any
	walk(m.components, func(x map[string]any) bool {
		isButton := num(x, "type") == typeButton
		if customID != "" && text(x, "custom_id") == customID && isButton == (values == nil) {
			c = x
		}
		return c == nil
	})
	err := ErrNoSuchButton
	switch {
	case c == nil:
	case c["disabled"] == true:
		err = ErrDisabled
	default:
		err = chosen(c, values)
	}
	if err != nil {
		s.mu.Unlock()
		return err
	}
	it, payload := p.click(channel, message, c, customID, values)
	s.mu.Unlock()
	return s.deliver(ctx, it, payload)
}

// chosen checks what a client lets a person choose.
func chosen(c map[string]any, values []string) error {
	if values == nil {
		return nil
	}
	if low, high := span(c); len(values) < low || len(values) > high {
		return &BlockedError{Fields: map[string]string{text(c, "custom_id"): fmt.Sprintf("Choose %d to %d", low, high)}}
	}
	if num(c, "type") != typeStringSelect {
		return nil
	}
	for _, v := range values {
		if !slices.ContainsFunc(optionsOf(c), func(o Option) bool { return o.Value == v }) {
			return fmt.Errorf("%q: %w", v, ErrNoSuchOption)
		}
	}
	return nil
}

func (p *Person) click(channel, message string, c map[string]any, customID string, values []string) (*interaction, json.RawMessage) {
	it := p.s.newInteraction(component, p.id, channel)
	it.message = message
	data := map[string]any{"component_type": typeButton, "id": 0, "custom_id": customID}
	if c != nil {
		data["component_type"], data["id"] = c["type"], c["id"]
	}
	if values != nil {
		data["values"] = values
		if c == nil {
			data["component_type"] = typeStringSelect
		}
	}
	return it, p.s.payload(it, data)
}

// ClickRaw sends a click as told, without looking at the message: from a
// client that shows an old version, or from an attacker.
func (p *Person) ClickRaw(ctx context.Context, channel, message, customID string) error {
	return p.SelectRaw(ctx, channel, message, customID)
}

// SelectRaw is ClickRaw for a select, if any values are given.
func (p *Person) SelectRaw(ctx context.Context, channel, message, customID string, values ...string) error {
	p.s.mu.Lock()
	it, payload := p.click(channel, message, nil, customID, values)
	p.s.mu.Unlock()
	return p.s.deliver(ctx, it, payload)
}

// ClickBody is the interaction of such a click, for [Server.Deliver] and
// [Server.Dispatch]. Nothing is sent; the bot can answer it for Config.AckWait
// from now.
func (p *Person) ClickBody(channel, message, customID string) json.RawMessage {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	_, payload := p.click(channel, message, nil, customID, nil)
	return payload
}

// Modal is the form that the person has open, if any. A new form replaces it.
func (p *Person) Modal() (Modal, bool) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if f := p.s.forms[p.id]; f != nil {
		return f.show(), true
	}
	return Modal{}, false
}

// Type fills a field of the form, named by its custom id, without sending
// anything. The value of a choice is the option's value, of several joined by
// commas, of a checkbox "true" or "false"; "" empties a field.
func (p *Person) Type(field, value string) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	f := p.s.forms[p.id]
	if f == nil {
		return ErrNoForm
	}
	err := f.set(field, value)
	p.s.changed()
	return err
}

// Submit fills the named fields as [Person.Type] does and submits the form.
// Fields not named keep what they hold. When Discord's client would not
// submit, the error is a [*BlockedError]. The form closes when the bot has
// answered and stays open when it has not.
func (p *Person) Submit(ctx context.Context, values map[string]string) error {
	s := p.s
	s.mu.Lock()
	f := s.forms[p.id]
	if f == nil {
		s.mu.Unlock()
		return ErrNoForm
	}
	for _, field := range sortedKeys(values) {
		if err := f.set(field, values[field]); err != nil {
			s.mu.Unlock()
			return err
		}
	}
	s.changed()
	if blocked := f.block(); len(blocked) > 0 {
		s.mu.Unlock()
		return &BlockedError{Fields: blocked}
	}
	return p.submit(ctx, f, f.submitted())
}

// SubmitRaw submits the form with any data, for example
// {"custom_id":"x","components":[]}: the rules of Discord's client are not applied.
func (p *Person) SubmitRaw(ctx context.Context, data json.RawMessage) error {
	var m map[string]any
	if err := decode(data, &m); err != nil {
		return fmt.Errorf("data of the form: %w", err)
	}
	p.s.mu.Lock()
	f := p.s.forms[p.id]
	if f == nil {
		p.s.mu.Unlock()
		return ErrNoForm
	}
	return p.submit(ctx, f, m)
}

// submit is called with the lock held and gives it back.
func (p *Person) submit(ctx context.Context, f *form, data map[string]any) error {
	s := p.s
	it := s.newInteraction(formSubmit, p.id, f.from.channel)
	it.from, it.message = f.from, f.from.message
	payload := s.payload(it, data)
	s.mu.Unlock()
	if err := s.deliver(ctx, it, payload); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forms[p.id] == f {
		delete(s.forms, p.id)
	}
	s.changed()
	return nil
}

// CloseModal closes the form without submitting it; the bot hears nothing of it.
func (p *Person) CloseModal() {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	delete(p.s.forms, p.id)
	p.s.changed()
}

// Ephemerals lists what only this person sees, oldest first.
func (p *Person) Ephemerals() []Ephemeral {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	var out []Ephemeral
	for _, m := range p.s.privates[p.id] {
		if !m.hidden {
			out = append(out, m.private())
		}
	}
	return out
}

// ClickEphemeral presses a button of an ephemeral message.
func (p *Person) ClickEphemeral(ctx context.Context, id, customID string) error {
	p.s.mu.Lock()
	channel := ""
	if m := p.s.whisper(p.id, id); m != nil {
		channel = m.Channel
	}
	p.s.mu.Unlock()
	return p.Click(ctx, channel, id, customID)
}

// Dismiss hides an ephemeral message. The bot does not learn of it and can
// still change what nobody sees any more.
func (p *Person) Dismiss(id string) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if m := p.s.whisper(p.id, id); m != nil {
		m.hidden = true
	}
	p.s.changed()
}
