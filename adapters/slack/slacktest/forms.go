package slacktest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// View is the form that the person has in front, if any.
func (p *Person) View() (*View, bool) {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	if v := p.top(); v != nil {
		return p.s.show(v), true
	}
	return nil, false
}

func (p *Person) top() *view {
	d := p.s.desk(p.id)
	if len(d.stack) == 0 {
		return nil
	}
	return d.stack[len(d.stack)-1]
}

// Type fills a field of the form without sending anything. The field is named
// by block id or action id; value as in [Person.Submit].
func (p *Person) Type(field, value string) error {
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	v := p.top()
	if v == nil {
		return ErrNoView
	}
	_, _, err := v.set(field, value)
	p.s.changed()
	return err
}

// set changes the state of one input and returns its block and element.
func (v *view) set(field, value string) (b, e map[string]any, err error) {
	for _, b := range blocksOf(v.raw) {
		for _, e := range interactive(b) {
			if text(b, "block_id") != field && text(e, "action_id") != field {
				continue
			}
			if text(e, "type") == "button" && value != "" && text(e, "value") != value {
				continue // several buttons do the same to different things
			}
			if text(e, "type") == "button" || text(e, "type") == "overflow" {
				return b, e, nil
			}
			st, err := typed(e, value)
			if err != nil {
				return nil, nil, fmt.Errorf("field %s: %w", field, err)
			}
			v.typed[inputKey(text(b, "block_id"), text(e, "action_id"))] = st
			return b, e, nil
		}
	}
	return nil, nil, fmt.Errorf("field %s: %w", field, ErrNoSuchField)
}

// typed is the entry of state.values after a person chose or wrote value.
func typed(e map[string]any, value string) (map[string]any, error) {
	st := initialState(e)
	option := func(value string) (map[string]any, error) {
		for _, o := range allOptions(e) {
			if text(o, "value") == value {
				return o, nil
			}
		}
		return nil, fmt.Errorf("%q: %w", value, ErrNoSuchOption)
	}
	for key := range st {
		if key == "type" {
			continue
		}
		var many []string
		if value != "" {
			many = strings.Split(value, ",")
		}
		switch {
		case key == "selected_option" && value != "":
			o, err := option(value)
			if err != nil {
				return nil, err
			}
			st[key] = o
		case key == "selected_options":
			list := []any{}
			for _, one := range many {
				o, err := option(one)
				if err != nil {
					return nil, err
				}
				list = append(list, o)
			}
			st[key] = list
		case strings.HasSuffix(key, "s"): // selected_users and the like
			list := []any{}
			for _, one := range many {
				list = append(list, one)
			}
			st[key] = list
		case key == "selected_date_time" && value != "":
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", value, ErrNoSuchOption)
			}
			st[key] = n
		case value == "":
			st[key] = nil
		default:
			st[key] = value
		}
	}
	return st, nil
}

// plain is the value of a field as [Person.Type] takes it.
func plain(st map[string]any) string {
	one := func(v any) string {
		switch v := v.(type) {
		case nil:
			return ""
		case map[string]any:
			return text(v, "value")
		}
		return fmt.Sprint(v)
	}
	for key, v := range st {
		if key == "type" {
			continue
		}
		if list, ok := v.([]any); ok {
			var parts []string
			for _, x := range list {
				parts = append(parts, one(x))
			}
			return strings.Join(parts, ",")
		}
		return one(v)
	}
	return ""
}

// Submit fills the named fields, presses the form's submit button and returns
// the errors that the app shows under fields. Fields not named keep what they
// hold. The value of a choice is the option's value, of several joined by
// commas; "" empties a field. When Slack's client would not submit, the error
// is a [*BlockedError].
func (p *Person) Submit(ctx context.Context, values map[string]string) (map[string]string, error) {
	s := p.s
	s.mu.Lock()
	v := p.top()
	if v == nil {
		s.mu.Unlock()
		return nil, ErrNoView
	}
	for _, field := range slices.Sorted(maps.Keys(values)) {
		if _, _, err := v.set(field, values[field]); err != nil {
			s.mu.Unlock()
			return nil, err
		}
	}
	if v.raw["submit"] == nil {
		s.mu.Unlock()
		return nil, ErrNoSubmit
	}
	if blocked := v.block(); len(blocked) > 0 {
		s.mu.Unlock()
		return nil, &BlockedError{Fields: blocked}
	}
	return p.submit(ctx, v, v.state())
}

// SubmitRaw submits the form with any state, for example `{"values":{}}`; nil
// leaves state out. Slack's client-side rules are not applied.
func (p *Person) SubmitRaw(ctx context.Context, state json.RawMessage) (map[string]string, error) {
	p.s.mu.Lock()
	v := p.top()
	if v == nil {
		p.s.mu.Unlock()
		return nil, ErrNoView
	}
	if state == nil {
		return p.submit(ctx, v, nil)
	}
	return p.submit(ctx, v, state)
}

// block applies the rules of Slack's client, by block id.
func (v *view) block() map[string]string {
	out := map[string]string{}
	for _, b := range blocksOf(v.raw) {
		if text(b, "type") != "input" {
			continue
		}
		for _, e := range interactive(b) {
			val := plain(v.typed[inputKey(text(b, "block_id"), text(e, "action_id"))])
			if msg := clientRule(e, val, b["optional"] == true); msg != "" {
				out[text(b, "block_id")] = msg
			}
		}
	}
	return out
}

func clientRule(e map[string]any, val string, optional bool) string {
	if val == "" {
		if optional {
			return ""
		}
		return "Please complete this required field."
	}
	bound := func(key string) (int, bool) {
		n, ok := e[key].(json.Number)
		i, err := strconv.Atoi(n.String())
		return i, ok && err == nil
	}
	switch text(e, "type") {
	case "plain_text_input":
		n := utf8.RuneCountInString(val) // only spaces passes, as in Slack
		if high, ok := bound("max_length"); ok && n > high || n > maxInputLength {
			return "This entry is too long."
		}
		if low, ok := bound("min_length"); ok && n < low {
			return "This entry is too short."
		}
	case "number_input":
		n, ok := number(val)
		if !ok {
			return "Enter a number."
		}
		if e["is_decimal_allowed"] != true && !n.IsInt() {
			return "Enter a whole number."
		}
		if low, ok := number(text(e, "min_value")); ok && n.Cmp(low) < 0 {
			return "Enter a number of at least " + text(e, "min_value") + "."
		}
		if high, ok := number(text(e, "max_value")); ok && n.Cmp(high) > 0 {
			return "Enter a number of at most " + text(e, "max_value") + "."
		}
	case "email_text_input":
		if local, domain, ok := strings.Cut(val, "@"); !ok || local == "" || !strings.Contains(domain, ".") {
			return "Enter a valid email address."
		}
	case "url_text_input":
		if u, err := url.Parse(val); err != nil || u.Scheme == "" || u.Host == "" {
			return "Enter a valid URL."
		}
	}
	return ""
}

// submit is called with the lock held and gives it back.
func (p *Person) submit(ctx context.Context, v *view, state any) (map[string]string, error) {
	s := p.s
	w := p.payload("view_submission", true)
	form := s.wireView(v)
	form["state"] = state
	if state == nil {
		delete(form, "state")
	}
	w["view"], w["response_urls"] = form, []any{}
	body := marshal(w)
	v.errors = nil
	s.mu.Unlock()
	a, err := s.deliver(ctx, Interactive, body, 0, "")
	if err != nil {
		return nil, trouble(err)
	}
	if s.cfg.AnswerLag > 0 {
		lag := time.NewTimer(s.cfg.AnswerLag)
		defer lag.Stop()
		select {
		case <-lag.C:
		case <-ctx.Done():
			return nil, trouble(ctx.Err())
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fields, err := p.answered(v, a)
	if err != nil {
		s.violate("answer to a submitted form: %v", err)
	}
	s.changed()
	return fields, err
}

// answered does what the app's answer to a submission says
// (docs.slack.dev/surfaces/modals, "responses to view_submission").
func (p *Person) answered(v *view, a ack) (map[string]string, error) {
	s := p.s
	d := s.desk(p.id)
	if a.status != 200 {
		return nil, trouble(fmt.Sprintf("status %d", a.status))
	}
	at := slices.Index(d.stack, v)
	if a.empty() {
		if at >= 0 {
			d.stack = slices.Delete(d.stack, at, at+1)
		}
		return nil, nil
	}
	var r struct {
		Action string            `json:"response_action"`
		Errors map[string]string `json:"errors"`
		View   json.RawMessage   `json:"view"`
	}
	if err := json.Unmarshal(a.body, &r); err != nil {
		return nil, trouble(fmt.Sprintf("not JSON: %.100q", a.body))
	}
	switch r.Action {
	case "errors":
		if len(r.Errors) == 0 {
			return nil, trouble("no errors in errors")
		}
		for id := range r.Errors {
			if !slices.ContainsFunc(blocksOf(v.raw), func(b map[string]any) bool {
				return text(b, "type") == "input" && text(b, "block_id") == id
			}) {
				return nil, trouble(fmt.Sprintf("%q is not the block id of an input block", id))
			}
		}
		v.errors = maps.Clone(r.Errors)
		return r.Errors, nil
	case "clear":
		d.stack = nil
		return nil, nil
	case "update", "push":
		raw, bad := s.readView(r.View)
		if bad != nil {
			return nil, trouble(fmt.Sprintf("view in the answer: %s %v", bad.err, bad.details))
		}
		if text(raw, "type") != "modal" {
			return nil, trouble("view in the answer is not a modal")
		}
		if r.Action == "update" {
			if at >= 0 {
				s.replaceView(v, raw)
			}
			return nil, nil
		}
		if len(d.stack) >= maxStack {
			return nil, trouble("push_limit_reached")
		}
		s.pushOn(d, s.newView(p.id, raw))
		return nil, nil
	}
	return nil, trouble(fmt.Sprintf("response_action %q", r.Action))
}

// CloseView closes the form in front. The app hears of it only when the form
// has notify_on_close.
func (p *Person) CloseView(ctx context.Context) error {
	s := p.s
	s.mu.Lock()
	v := p.top()
	if v == nil {
		s.mu.Unlock()
		return ErrNoView
	}
	d := s.desk(p.id)
	d.stack = d.stack[:len(d.stack)-1]
	if v.raw["clear_on_close"] == true {
		d.stack = nil
	}
	s.changed()
	if v.raw["notify_on_close"] != true {
		s.mu.Unlock()
		return nil
	}
	w := p.payload("view_closed", true)
	w["view"], w["is_cleared"] = s.wireView(v), v.raw["clear_on_close"] == true
	body := marshal(w)
	s.mu.Unlock()
	if _, err := s.deliver(ctx, Interactive, body, 0, ""); err != nil {
		return trouble(err)
	}
	return nil
}
