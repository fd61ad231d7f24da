package slacktest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

// content is the checked content of a message.
type content struct {
	text   string
	blocks json.RawMessage
}

// checkContent reads text and blocks of a chat.* call. tooLong names the error
// for too much text: it differs between the methods' pages.
func (s *Server) checkContent(method string, a args, tooLong string) (content, *reply) {
	refuse := func(name string, details ...string) (content, *reply) {
		r := fail(name, details...)
		return content{}, &r
	}
	c := content{text: a["text"]}
	if a.given("markdown_text") {
		if a.given("text") || a.given("blocks") {
			return refuse("markdown_text_conflict")
		}
		c.text = a["markdown_text"]
	}
	if a.given("attachments") {
		var list []json.RawMessage
		if json.Unmarshal([]byte(a["attachments"]), &list) != nil {
			return refuse("invalid_arguments", "[ERROR] attachments is not an array")
		}
		if len(list) > 100 {
			return refuse("too_many_attachments")
		}
	}
	if a.given("blocks") {
		p := checkBlocks([]byte(a["blocks"]), inMessage)
		if p.malformed {
			return refuse("invalid_blocks_format")
		}
		if len(p.problems) > 0 {
			return refuse("invalid_blocks", p.problems...)
		}
		if p.runes > maxAllText {
			return refuse(tooLong)
		}
		if len(p.blocks) > 0 {
			p.fill(s)
			c.blocks = marshal(p.blocks)
		}
	}
	if !utf8.ValidString(c.text) {
		s.violate("%s: text is not valid UTF-8", method)
	}
	if strings.TrimSpace(c.text) == "" && c.blocks == nil && !a.given("attachments") {
		return refuse("no_text")
	}
	return c, nil
}

var eventType = regexp.MustCompile(`^[a-zA-Z0-9_\-.]{1,255}$`)

// checkMetadata reads the metadata argument; "" means none was given and an
// empty object removes it.
func checkMetadata(a args) (meta json.RawMessage, given bool, r *reply) {
	if !a.given("metadata") {
		return nil, false, nil
	}
	refuse := func(name string) (json.RawMessage, bool, *reply) {
		rep := fail(name)
		return nil, true, &rep
	}
	var m map[string]json.RawMessage
	if json.Unmarshal([]byte(a["metadata"]), &m) != nil {
		return refuse("invalid_metadata_format")
	}
	if len(m) == 0 {
		return nil, true, nil
	}
	var kind string
	var payload map[string]any
	if json.Unmarshal(m["event_type"], &kind) != nil || !eventType.MatchString(kind) ||
		json.Unmarshal(m["event_payload"], &payload) != nil || payload == nil {
		return refuse("invalid_metadata_schema")
	}
	return json.RawMessage(a["metadata"]), true, nil
}

func (s *Server) postMessage(a args, t *token) reply {
	c := s.place(a["channel"], true)
	if c == nil {
		return fail("channel_not_found")
	}
	if c.Archived {
		return fail("is_archived")
	}
	if !s.in(c) && !slices.Contains(t.scopes, "chat:write.public") {
		return fail("not_in_channel")
	}
	body, bad := s.checkContent("chat.postMessage", a, "msg_blocks_too_long")
	if bad != nil {
		return *bad
	}
	meta, _, bad := checkMetadata(a)
	if bad != nil {
		return *bad
	}
	if n := []rune(body.text); len(n) > 40000 { // docs.slack.dev/reference/methods/chat.postMessage: truncated
		body.text = string(n[:40000])
	}
	thread := a["thread_ts"]
	if thread != "" {
		parent := s.message(c.ID, thread)
		if parent == nil || parent.ThreadTS != "" && parent.ThreadTS != parent.TS {
			return fail("cannot_reply_to_message")
		}
	}
	m := &Message{Channel: c.ID, TS: s.ts(), ThreadTS: thread, User: s.cfg.BotUserID, BotID: BotID,
		Text: body.text, Blocks: body.blocks, Metadata: meta}
	s.messages[c.ID] = append(s.messages[c.ID], m)
	s.changed()
	return reply{body: map[string]any{"channel": c.ID, "ts": m.TS, "message": s.wireMessage(m, false)}}
}

func (s *Server) updateMessage(a args, _ *token) reply {
	c := s.place(a["channel"], false)
	if c == nil {
		return fail("channel_not_found")
	}
	m := s.message(c.ID, a["ts"])
	switch {
	case m == nil:
		return fail("message_not_found")
	case m.User != s.cfg.BotUserID:
		return fail("cant_update_message")
	case c.Archived:
		return fail("is_inactive")
	case utf8.RuneCountInString(a["text"]) > 4000:
		return fail("msg_too_long")
	}
	body, bad := s.checkContent("chat.update", a, "msg_too_long")
	if bad != nil {
		return *bad
	}
	meta, given, bad := checkMetadata(a)
	if bad != nil {
		return *bad
	}
	m.Text, m.Blocks = body.text, body.blocks
	m.edited = m.Blocks == nil
	if given {
		m.Metadata = meta
	}
	m.Edits++
	s.changed()
	return reply{body: map[string]any{"channel": c.ID, "ts": m.TS, "text": m.Text, "message": s.wireMessage(m, false)}}
}

func (s *Server) postEphemeral(a args, _ *token) reply {
	c := s.place(a["channel"], false)
	switch {
	case c == nil:
		return fail("channel_not_found")
	case c.Archived:
		return fail("is_archived")
	case !s.in(c):
		return fail("not_in_channel")
	case !slices.Contains(c.Members, a["user"]):
		return fail("user_not_in_channel")
	}
	body, bad := s.checkContent("chat.postEphemeral", a, "msg_too_long")
	if bad != nil {
		return *bad
	}
	e := s.whisper(Ephemeral{Channel: c.ID, User: a["user"], ThreadTS: a["thread_ts"], Text: body.text, Blocks: body.blocks, Via: "chat.postEphemeral"})
	return reply{body: map[string]any{"message_ts": e.TS}}
}

// whisper shows an ephemeral message to its user.
func (s *Server) whisper(e Ephemeral) *Ephemeral {
	e.TS = s.ts()
	s.privates[e.User] = append(s.privates[e.User], &e)
	s.changed()
	return &e
}

func (s *Server) permalink(a args, _ *token) reply {
	c := s.place(a["channel"], false)
	if c == nil {
		return fail("channel_not_found")
	}
	if s.message(c.ID, a["message_ts"]) == nil {
		return fail("message_not_found")
	}
	return reply{body: map[string]any{"channel": c.ID, "permalink": fmt.Sprintf("https://%s.slack.com/archives/%s/p%s",
		s.cfg.TeamDomain, c.ID, strings.ReplaceAll(a["message_ts"], ".", ""))}}
}

// wireMessage is a message as the API and payloads show it.
func (s *Server) wireMessage(m *Message, metadata bool) map[string]any {
	w := map[string]any{"type": "message", "ts": m.TS, "user": m.User, "text": m.Text, "team": s.cfg.TeamID}
	if m.BotID != "" {
		w["bot_id"], w["app_id"] = m.BotID, s.cfg.AppID
	}
	if m.Blocks != nil {
		w["blocks"] = m.Blocks
	}
	if m.ThreadTS != "" {
		w["thread_ts"] = m.ThreadTS
	}
	if n := len(s.repliesTo(m)); n > 0 {
		w["thread_ts"], w["reply_count"] = m.TS, n
	}
	if m.edited {
		w["edited"] = map[string]any{"user": m.User, "ts": m.TS}
	}
	if metadata && m.Metadata != nil {
		w["metadata"] = m.Metadata
	}
	return w
}

func (s *Server) repliesTo(parent *Message) []*Message {
	var out []*Message
	for _, m := range s.messages[parent.Channel] {
		if m.ThreadTS == parent.TS && m.TS != parent.TS {
			out = append(out, m)
		}
	}
	return out
}
