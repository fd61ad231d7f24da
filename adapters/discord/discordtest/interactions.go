package discordtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Types of interactions
// (discord.com/developers/docs/interactions/receiving-and-responding).
const (
	ping         = 1
	command      = 2
	component    = 3
	autocomplete = 4
	formSubmit   = 5
)

// Types of answers to interactions.
const (
	answerPong           = 1
	answerMessage        = 4
	answerDeferred       = 5
	answerDeferredUpdate = 6
	answerUpdate         = 7
	answerChoices        = 8
	answerForm           = 9
)

// interaction is one use of the bot by a person, and how it was answered.
type interaction struct {
	id, token string
	kind      int
	user      string
	channel   string
	command   string       // name of the command
	message   string       // that the component is on; "" for commands and forms opened by one
	from      *interaction // of a form: the one that it was opened by
	began     time.Time    // real
	created   time.Time    // by Now
	late      bool         // the person has been told that it failed
	answer    int          // type of the answer; 0 while there is none
	original  *message     // that @original stands for
	followUps []*message
	choices   []Choice
	done      chan struct{} // closed when it is answered
}

func (s *Server) newInteraction(kind int, user, channel string) *interaction {
	if len(s.interactions) > s.cfg.CallLog { // a demo runs for days
		for token, it := range s.interactions {
			if s.cfg.Now().Sub(it.created) > 2*s.cfg.TokenLife {
				delete(s.interactions, token)
			}
		}
	}
	it := &interaction{id: s.id(), token: "aW50ZXJhY3Rpb24" + secret(24), kind: kind, user: user, channel: channel,
		began: time.Now(), created: s.cfg.Now(), done: make(chan struct{})}
	s.interactions[it.token] = it
	return it
}

// owners says who installed the app where an interaction comes from.
func (s *Server) owners(channel string) map[string]any {
	guild := s.cfg.GuildID
	if c := s.channels[channel]; c != nil && c.DM != "" {
		guild = "0"
	} else if c != nil {
		guild = c.Guild
	}
	return map[string]any{"0": guild}
}

// payload is the interaction as the bot gets it, with everything that real ones have.
func (s *Server) payload(it *interaction, data map[string]any) json.RawMessage {
	w := map[string]any{
		"id": it.id, "application_id": s.cfg.ApplicationID, "type": it.kind, "token": it.token, "version": 1, "data": data,
		"channel_id": it.channel, "locale": "en-US", "entitlements": []any{}, "entitlement_sku_ids": []any{},
		"authorizing_integration_owners": s.owners(it.channel), "attachment_size_limit": 10 << 20,
	}
	c := s.channels[it.channel]
	if c == nil { // a click from a client that shows what is gone
		c = &Channel{ID: it.channel, Guild: s.cfg.GuildID}
	}
	can := s.permissions(it.user, c)
	w["app_permissions"] = bits(s.permissions(s.cfg.BotUserID, c))
	channel := s.wireChannel(c)
	channel["permissions"] = bits(can)
	w["channel"] = channel
	if c.DM != "" {
		w["context"], w["user"] = 1, s.wireUser(it.user)
	} else {
		w["context"], w["guild_id"], w["guild_locale"] = 0, c.Guild, "en-US"
		w["guild"] = map[string]any{"id": c.Guild, "locale": "en-US", "features": []any{}}
		member := s.wireMember(s.user(it.user))
		member["permissions"] = bits(can)
		w["member"] = member
	}
	if it.message != "" {
		m := s.target(it)
		if m == nil {
			m = &message{Message: Message{ID: it.message, Channel: it.channel, Author: s.cfg.BotUserID, Created: it.created}}
		}
		w["message"] = s.wireMessage(m, false)
	}
	return marshal(w)
}

// target is the message that the component of an interaction is on, or nil.
func (s *Server) target(it *interaction) *message {
	if it.message == "" {
		return nil
	}
	if m := s.message(it.channel, it.message); m != nil {
		return m
	}
	return s.whisper(it.user, it.message)
}

// allowedAnswers are the types of answers that an interaction takes.
func (it *interaction) allowedAnswers() []int {
	switch {
	case it.kind == ping:
		return []int{answerPong}
	case it.kind == autocomplete:
		return []int{answerChoices}
	case it.kind == command:
		return []int{answerMessage, answerDeferred, answerForm}
	case it.kind == component:
		return []int{answerMessage, answerDeferred, answerDeferredUpdate, answerUpdate, answerForm}
	case it.message != "": // a form that a component opened
		return []int{answerMessage, answerDeferred, answerDeferredUpdate, answerUpdate}
	}
	return []int{answerMessage, answerDeferred}
}

func (s *Server) callback(c *call) reply {
	it := s.interactions[c.params["token"]]
	if it == nil || it.id != c.params["interaction"] {
		return fail(http.StatusNotFound, 10062)
	}
	if e := s.tooLate(it); e != nil {
		return refuse(e)
	}
	if !utf8.Valid(c.body) {
		s.violate("%s: the body is not UTF-8", c.where())
	}
	var body map[string]any
	if decode(c.body, &body) != nil || body == nil {
		return fail(http.StatusBadRequest, 50109)
	}
	for k := range c.query {
		if k != "with_response" {
			s.violate("%s: unknown query parameter %q", c.where(), k)
		}
	}
	if e := s.respond(c.where(), it, body); e != nil {
		return refuse(e)
	}
	if with, _ := strconv.ParseBool(c.query.Get("with_response")); with {
		return ok(s.callbackResult(it))
	}
	return noContent()
}

// tooLate says why an interaction cannot be answered any more, if so.
func (s *Server) tooLate(it *interaction) *apiError {
	switch {
	case it.answer != 0:
		return &apiError{status: http.StatusBadRequest, code: 40060}
	case it.late || time.Since(it.began) > s.cfg.AckWait:
		return &apiError{status: http.StatusNotFound, code: 10062}
	}
	return nil
}

func (s *Server) callbackResult(it *interaction) map[string]any {
	in := map[string]any{"id": it.id, "type": it.kind, "channel_id": it.channel}
	if c := s.channels[it.channel]; c == nil || c.DM == "" {
		in["guild_id"] = s.cfg.GuildID
	}
	w := map[string]any{"interaction": in}
	if m := it.original; m != nil {
		in["response_message_id"] = m.ID
		in["response_message_loading"] = m.Flags&FlagLoading != 0
		in["response_message_ephemeral"] = m.only != ""
		if it.answer == answerMessage || it.answer == answerUpdate {
			w["resource"] = map[string]any{"type": it.answer, "message": s.wireMessage(m, false)}
		}
	}
	return w
}

// respond does what an answer to an interaction says.
func (s *Server) respond(where string, it *interaction, body map[string]any) *apiError {
	p := &problems{}
	p.keys("", body, "type!", "data")
	kind, isNumber := number(body["type"])
	if allowed := it.allowedAnswers(); body["type"] != nil && (!isNumber || !slices.Contains(allowed, kind)) {
		p.bad("type", "BASE_TYPE_CHOICES", choices(allowed))
	}
	data, isObject := body["data"].(map[string]any)
	if body["data"] != nil && !isObject {
		p.bad("data", "DICT_TYPE_CONVERT", "Only dictionaries may be used in a DictType")
	}
	if data == nil && (kind == answerMessage || kind == answerUpdate || kind == answerForm || kind == answerChoices) {
		p.required("data")
	}
	note := func() {
		for _, v := range p.silent {
			s.violate("%s: %s", where, strings.TrimPrefix(v, ": "))
		}
	}
	if e := p.err(); e != nil {
		note()
		return e
	}
	switch kind {
	case answerMessage:
		d, e := s.draft(where, dropFormKeys(data), onReply, nil, nil)
		if e != nil {
			return under("data", e)
		}
		it.original = s.answerMessage(it, d.flags&FlagEphemeral != 0, "reply")
		s.fill(it.original, d, true)
	case answerDeferred:
		flags := num(data, "flags")
		if flags&^FlagEphemeral != 0 {
			s.violate("%s: flags %d: a deferred answer takes EPHEMERAL only", where, flags)
		}
		it.original = s.answerMessage(it, flags&FlagEphemeral != 0, "deferred")
		it.original.Flags |= FlagLoading
	case answerDeferredUpdate:
		it.original = s.target(it)
	case answerUpdate:
		m := s.target(it)
		if m == nil {
			return &apiError{status: http.StatusNotFound, code: 10008}
		}
		d, e := s.draft(where, dropFormKeys(data), onUpdate, m, nil)
		if e != nil {
			return under("data", e)
		}
		s.fill(m, d, false)
		it.original = m
	case answerForm:
		f, problems := readForm(data)
		p.silent = append(p.silent, problems.silent...)
		if e := problems.err(); e != nil {
			note()
			return e
		}
		f.from = it
		f.reset()
		s.forms[it.user] = f
	case answerChoices:
		it.choices = p.choices(data)
		if e := p.err(); e != nil {
			note()
			return e
		}
	}
	note()
	it.answer = kind
	close(it.done)
	s.changed()
	return nil
}

// dropFormKeys forgets keys of forms and choices that are empty: clients have
// one struct for all answers.
func dropFormKeys(data map[string]any) map[string]any {
	out := map[string]any{}
	for k, v := range data {
		empty := v == nil || v == "" || fmt.Sprint(v) == "[]"
		if empty && (k == "choices" || k == "custom_id" || k == "title") {
			continue
		}
		out[k] = v
	}
	return out
}

// under moves the errors of a body below a key.
func under(key string, e *apiError) *apiError {
	if e.errors != nil {
		e.errors = map[string]any{key: e.errors}
	}
	return e
}

// answerMessage makes the empty message that answers an interaction.
func (s *Server) answerMessage(it *interaction, ephemeral bool, via string) *message {
	m := &message{Message: Message{ID: s.id(), Channel: it.channel, Author: s.cfg.BotUserID, Via: via, Created: s.cfg.Now()}, interaction: it}
	if it.kind == command {
		m.kind = 20 // CHAT_INPUT_COMMAND
	}
	if ephemeral {
		m.only = it.user
		m.Flags = FlagEphemeral
		s.privates[it.user] = append(s.privates[it.user], m)
	} else {
		s.messages[it.channel] = append(s.messages[it.channel], m)
	}
	return m
}

func (p *problems) choices(data map[string]any) []Choice {
	p.keys("data", data, "choices")
	var out []Choice
	for i, v := range p.array("data.choices", data["choices"], 0, maxOptions) {
		at := fmt.Sprintf("data.choices.%d", i)
		m := p.object(at, v)
		if m == nil {
			continue
		}
		p.keys(at, m, "name", "value!", "name_localizations")
		c := Choice{Name: p.str(at+".name", m["name"], 1, maxOptionText)}
		switch v := m["value"].(type) {
		case nil:
		case string:
			c.Value = p.str(at+".value", v, 0, maxOptionText)
		case json.Number:
			c.Value = v.String()
		default:
			p.bad(at+".value", "STRING_TYPE_CONVERT", "Could not interpret the value as string.")
		}
		out = append(out, c)
	}
	return out
}

// webhook finds the interaction whose token a call uses.
func (s *Server) webhook(c *call) (*interaction, *apiError) {
	it := s.interactions[c.params["token"]]
	switch {
	case c.params["application"] != s.cfg.ApplicationID:
		return nil, &apiError{status: http.StatusNotFound, code: 10015}
	case it == nil || s.cfg.Now().Sub(it.created) > s.cfg.TokenLife:
		return nil, &apiError{status: http.StatusUnauthorized, code: 50027}
	case it.answer == 0:
		return nil, &apiError{status: http.StatusNotFound, code: 10015}
	}
	for k := range c.query {
		if k != "wait" && k != "thread_id" && k != "with_components" {
			s.violate("%s: unknown query parameter %q", c.where(), k)
		}
	}
	return it, nil
}

// answered finds one of the messages that answer an interaction.
func (s *Server) answered(c *call) (*interaction, *message, *apiError) {
	it, bad := s.webhook(c)
	if bad != nil {
		return nil, nil, bad
	}
	var m *message
	if id := c.params["message"]; id == "@original" || it.original != nil && it.original.ID == id {
		m = it.original
	} else if i := slices.IndexFunc(it.followUps, func(f *message) bool { return f.ID == id }); i >= 0 {
		m = it.followUps[i]
	}
	if m == nil || s.message(m.Channel, m.ID) != m && s.whisper(m.only, m.ID) != m {
		return nil, nil, &apiError{status: http.StatusNotFound, code: 10008}
	}
	return it, m, nil
}

func (s *Server) getAnswer(c *call) reply {
	_, m, bad := s.answered(c)
	if bad != nil {
		return refuse(bad)
	}
	return ok(s.wireMessage(m, false))
}

func (s *Server) editAnswer(c *call) reply {
	_, m, bad := s.answered(c)
	if bad != nil {
		return refuse(bad)
	}
	d, bad := s.readMessage(c, onRewrite, m)
	if bad != nil {
		return refuse(bad)
	}
	s.complete(m, d)
	return ok(s.wireMessage(m, false))
}

// complete changes an answer; a deferred one is there from now on.
func (s *Server) complete(m *message, d *draft) {
	deferred := m.Flags&FlagLoading != 0
	m.Flags &^= FlagLoading
	s.fill(m, d, deferred)
	s.changed()
}

func (s *Server) deleteAnswer(c *call) reply {
	_, m, bad := s.answered(c)
	if bad != nil {
		return refuse(bad)
	}
	if m.only != "" {
		s.privates[m.only] = slices.DeleteFunc(s.privates[m.only], func(x *message) bool { return x == m })
		s.changed()
	} else {
		s.remove(m.Channel, m.ID)
	}
	return noContent()
}

func (s *Server) followUp(c *call) reply {
	it, bad := s.webhook(c)
	if bad != nil {
		return refuse(bad)
	}
	d, bad := s.readMessage(c, onFollowUp, nil)
	if bad != nil {
		return refuse(bad)
	}
	if m := it.original; it.answer == answerDeferred && m != nil && m.Flags&FlagLoading != 0 {
		s.complete(m, d) // who sees it was decided when it was deferred
		return ok(s.wireMessage(m, false))
	}
	m := s.answerMessage(it, d.flags&FlagEphemeral != 0, "follow-up")
	m.kind = 0
	s.fill(m, d, true)
	it.followUps = append(it.followUps, m)
	s.changed()
	return ok(s.wireMessage(m, false))
}
