package slacktest

import (
	"encoding/json"
	"net/http"
	"slices"
	"time"
)

// FaultKind says how a call goes wrong.
type FaultKind int

// The ways a call can go wrong. Each is combined with Fault.Did.
const (
	DropConnection  FaultKind = iota // the connection ends without an answer
	EmptyObject                      // 200 {}
	OKFalse                          // 200 {"ok":false}, no error name
	NoTS                             // 200 {"ok":true}, without ts and channel
	OtherTS                          // 200 with Fault.TS for the ts
	Limited                          // 429 with Retry-After
	LimitedNoHeader                  // 429 without Retry-After
	LimitedInBody                    // 200 {"ok":false,"error":"ratelimited"}
	Unavailable                      // 503 with a page of HTML
	InternalError                    // 500 {"ok":false,"error":"internal_error"}
	CaptivePortal                    // 200 with a page of HTML
	SlackError                       // 200 with Fault.ErrorName
	UnknownElement                   // a right answer whose message holds an element that no client knows
	Slow                             // after Fault.Delay the right answer, or none when nothing was done
)

// Fault makes calls fail. Did tells apart the two kinds of every failure:
// "failed and did nothing" and "failed but did it".
type Fault struct {
	Method     string // "" means every method; "response_url" for response_urls
	Channel    string // only calls for this channel id; "" means any
	Skip       int    // how many matching calls go well first
	Times      int    // how many calls fail then; default 1, negative means for ever
	Kind       FaultKind
	Did        bool          // whether the call takes effect all the same
	RetryAfter time.Duration // of Limited; default 1s
	Delay      time.Duration // before the answer, in real time
	ErrorName  string        // of SlackError; default "fatal_error"
	TS         string        // of OtherTS
}

// Fail adds a fault. Of several that match, the oldest is used first.
func (s *Server) Fail(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f.Times == 0 {
		f.Times = 1
	}
	if f.RetryAfter == 0 {
		f.RetryAfter = time.Second
	}
	if f.ErrorName == "" {
		f.ErrorName = "fatal_error"
	}
	s.faults = append(s.faults, &f)
}

// ClearFaults removes every fault that was not used up.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

func (s *Server) takeFault(method string, a args) *Fault {
	for i, f := range s.faults {
		if f.Method != "" && f.Method != method || f.Channel != "" && f.Channel != a["channel"] {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times > 0 {
			if f.Times--; f.Times == 0 {
				s.faults = slices.Delete(s.faults, i, i+1)
			}
		}
		taken := *f
		return &taken
	}
	return nil
}

// answer replaces the right answer of a call.
func (f *Fault) answer(s *Server, method string, a args, status int, h http.Header, body []byte) (int, []byte, bool) {
	html := func(status int, text string) (int, []byte, bool) {
		h.Set("Content-Type", "text/html; charset=utf-8")
		return status, []byte("<!DOCTYPE html><html><body><h1>" + text + "</h1></body></html>"), false
	}
	named := func(status int, name string) (int, []byte, bool) {
		return status, marshal(map[string]any{"ok": false, "error": name}), false
	}
	switch f.Kind {
	case DropConnection:
		return 0, nil, true
	case EmptyObject:
		return http.StatusOK, []byte("{}"), false
	case OKFalse:
		return http.StatusOK, []byte(`{"ok":false}`), false
	case NoTS:
		return http.StatusOK, []byte(`{"ok":true}`), false
	case OtherTS:
		return http.StatusOK, marshal(map[string]any{"ok": true, "channel": a["channel"], "ts": f.TS}), false
	case Limited:
		h.Set("Retry-After", retryAfter(f.RetryAfter))
		return named(http.StatusTooManyRequests, "ratelimited")
	case LimitedNoHeader:
		return named(http.StatusTooManyRequests, "ratelimited")
	case LimitedInBody:
		return named(http.StatusOK, "ratelimited")
	case Unavailable:
		return html(http.StatusServiceUnavailable, "Service unavailable")
	case InternalError:
		return named(http.StatusInternalServerError, "internal_error")
	case CaptivePortal:
		return html(http.StatusOK, "Please log in to the network")
	case SlackError:
		return named(http.StatusOK, f.ErrorName)
	case UnknownElement:
		return status, f.unknownElement(s, a, body), false
	case Slow:
		return status, body, !f.Did
	}
	return status, body, false
}

// unknownElement is the right answer with one more element than a client
// library of today can know. When nothing was done the answer is made up.
func (f *Fault) unknownElement(s *Server, a args, body []byte) []byte {
	var ans map[string]any
	if !f.Did || json.Unmarshal(body, &ans) != nil {
		ts := a["ts"]
		if ts == "" {
			ts = s.ts()
		}
		ans = map[string]any{"ok": true, "channel": a["channel"], "ts": ts}
	}
	msg, _ := ans["message"].(map[string]any)
	if msg == nil {
		msg = map[string]any{"type": "message", "ts": ans["ts"], "text": a["text"]}
	}
	msg["blocks"] = []any{map[string]any{"type": "actions", "block_id": "new",
		"elements": []any{map[string]any{"type": "element_of_tomorrow", "action_id": "x"}}}}
	ans["message"] = msg
	return marshal(ans)
}
