package slacktest

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// responseURL is a webhook that comes with a click or a command. It works 5
// times within 30 minutes (docs.slack.dev/interactivity/handling-user-interaction).
type responseURL struct {
	user, channel, ts string // ts of the message it may replace
	ephemeral         bool   // that message is an ephemeral one
	at                time.Time
	uses              int
}

const maxResponses = 5

func (s *Server) newResponseURL(r responseURL) string {
	r.at = s.cfg.Now()
	path := "/response/" + s.cfg.TeamID + "/" + s.id("") + "/" + nonce()
	s.replies[path] = &r
	return s.base + path
}

var responseKeys = []string{"text", "blocks", "attachments", "response_type", "replace_original", "delete_original",
	"thread_ts", "mrkdwn", "unfurl_links", "unfurl_media", "metadata"}

func (s *Server) serveResponseURL(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	a := args{}
	problem := ""
	if err != nil || r.Method != http.MethodPost || !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		problem = "invalid_payload"
	} else if readJSONArgs(a, raw) != "" {
		problem = "invalid_payload"
	}
	s.mu.Lock()
	fault := s.takeFault("response_url", a)
	latency := s.latency
	s.mu.Unlock()
	if !s.wait(r.Context(), latency) {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	status, name := http.StatusBadRequest, problem
	did := false
	if problem == "" && (fault == nil || fault.Did) {
		if name = s.respond(r.URL.Path, a); name == "" {
			status, did = http.StatusOK, true
		} else if strings.HasSuffix(name, "_url") {
			status = http.StatusNotFound
		}
	}
	header := http.Header{"Content-Type": {"text/plain; charset=utf-8"}}
	body := []byte("ok")
	if name != "" {
		header.Set("Content-Type", "application/json; charset=utf-8")
		body = marshal(map[string]any{"ok": false, "error": name})
	}
	drop := false
	if fault != nil {
		status, body, drop = fault.answer(s, "response_url", a, status, header, body)
	}
	s.record(Call{Method: "response_url", Args: map[string]string(a), At: s.cfg.Now(), Status: status, Error: name, Did: did, Answer: body})
	s.mu.Unlock()
	if fault != nil && !s.wait(r.Context(), fault.Delay) || drop {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away is not our problem
}

// respond does what was posted to a response_url; it returns Slack's error name or "".
func (s *Server) respond(path string, a args) string {
	u := s.replies[path]
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if !slices.Contains(responseKeys, k) {
			s.violate("response_url: unknown field: %s", k)
		}
	}
	switch {
	case u == nil:
		return "unknown_url"
	case s.cfg.Now().Sub(u.at) > s.cfg.ResponseURLLife:
		return "expired_url"
	case u.uses >= maxResponses:
		return "used_url"
	}
	u.uses++
	if a.bool("delete_original") {
		s.dropOriginal(u)
		s.changed()
		return ""
	}
	c, bad := s.checkContent("response_url", a, "msg_blocks_too_long")
	if bad != nil {
		return bad.err
	}
	switch {
	case a.bool("replace_original") && u.ts != "":
		if u.ephemeral {
			for _, e := range s.privates[u.user] {
				if e.TS == u.ts {
					e.Text, e.Blocks = c.text, c.blocks
				}
			}
		} else if m := s.message(u.channel, u.ts); m != nil {
			m.Text, m.Blocks = c.text, c.blocks
			m.Edits++
		}
		s.changed()
	case a["response_type"] == "in_channel":
		s.say(u.channel, c, a["thread_ts"])
	default:
		s.whisper(Ephemeral{Channel: u.channel, User: u.user, ThreadTS: a["thread_ts"], Text: c.text, Blocks: c.blocks, Via: "response_url"})
	}
	return ""
}

func (s *Server) dropOriginal(u *responseURL) {
	if u.ephemeral {
		s.privates[u.user] = slices.DeleteFunc(s.privates[u.user], func(e *Ephemeral) bool { return e.TS == u.ts })
		return
	}
	s.messages[u.channel] = slices.DeleteFunc(s.messages[u.channel], func(m *Message) bool { return m.TS == u.ts })
}

func (s *Server) say(channel string, c content, thread string) {
	s.messages[channel] = append(s.messages[channel], &Message{Channel: channel, TS: s.ts(), ThreadTS: thread,
		User: s.cfg.BotUserID, BotID: BotID, Text: c.text, Blocks: c.blocks})
	s.changed()
}

// answerOf is the message in an answer to a command.
type answerOf struct {
	ResponseType string          `json:"response_type"`
	Text         string          `json:"text"`
	Blocks       json.RawMessage `json:"blocks"`
}
