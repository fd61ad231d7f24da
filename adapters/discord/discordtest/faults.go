package discordtest

import (
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// FaultKind says how a call goes wrong.
type FaultKind int

// The ways a call can go wrong. Each is combined with Fault.Did.
const (
	DropConnection      FaultKind = iota // the connection ends without an answer
	Limited                              // 429 with all headers, scope user
	LimitedShared                        // 429 with scope shared, which is not held against the bot
	LimitedGlobal                        // 429 with Retry-After, X-RateLimit-Global and nothing about a bucket
	LimitedNoRetryAfter                  // 429 that says nowhere how long to wait
	LimitedOldEdit                       // 429 with code 30046 and no word about how long to wait
	LimitedHTML                          // 429 with a page of HTML from the edge, and no headers
	ServerError                          // Fault.Status, default 502, as JSON or HTML
	DiscordError                         // Fault.Code with Fault.Status
	UnknownComponent                     // a right answer whose message holds a component that no client knows
	BadReset                             // a right answer whose X-RateLimit-Reset-After is no number
	Empty                                // 200 with an empty list
	Slow                                 // after Fault.Delay the right answer, or none when nothing was done
)

// Fault makes calls fail. Did tells apart the two kinds of every failure:
// "failed and did nothing" and "failed but did it".
type Fault struct {
	Method     string // "" means every method
	Route      string // as in [Call]; "" means every route
	Channel    string // only calls for this channel or thread, or whose interaction came from there; "" means any
	Skip       int    // how many matching calls go well first
	Times      int    // how many calls fail then; default 1, negative means for ever
	Kind       FaultKind
	Did        bool          // whether the call takes effect all the same
	RetryAfter time.Duration // of the kinds of 429; default 1s
	Delay      time.Duration // before the answer, in real time
	Status     int           // of ServerError, default 502, and of DiscordError, default 400
	Code       int           // of DiscordError, and of ServerError's JSON; default 0
	HTML       bool          // whether ServerError is a page of HTML
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
	if f.Status == 0 {
		f.Status = http.StatusBadGateway
		if f.Kind == DiscordError {
			f.Status = http.StatusBadRequest
		}
	}
	s.faults = append(s.faults, &f)
}

// ClearFaults removes every fault, of the gateway too, that was not used up.
func (s *Server) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
	s.gatewayFaults = nil
}

func (s *Server) takeFault(c *call) *Fault {
	for i, f := range s.faults {
		if f.Method != "" && f.Method != c.method || f.Route != "" && f.Route != c.route || f.Channel != "" && f.Channel != s.channelOf(c) {
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

// channelOf is the channel that a call is about.
func (s *Server) channelOf(c *call) string {
	if id := c.params["channel"]; id != "" {
		return id
	}
	if it := s.interactions[c.params["token"]]; it != nil {
		return it.channel
	}
	return ""
}

// answer replaces the right answer of a call; drop means that none is sent.
func (f *Fault) answer(s *Server, c *call, status int, h http.Header, body []byte) (_ int, _ []byte, drop bool) {
	html := func(status int, text string) (int, []byte, bool) {
		h.Set("Content-Type", "text/html; charset=UTF-8")
		return status, []byte("<!DOCTYPE html>\n<html><head><title>discord.com | " + text + "</title></head><body><h1>" + text + "</h1></body></html>"), false
	}
	limited := func(fields map[string]any) (int, []byte, bool) {
		return http.StatusTooManyRequests, marshal(fields), false
	}
	seconds := f.RetryAfter.Seconds()
	whole := strconv.Itoa(int(math.Ceil(seconds)))
	const message = "You are being rate limited."
	switch f.Kind {
	case DropConnection:
		return 0, nil, true
	case Limited:
		spent(h, seconds, s.cfg.Now())
		h.Set("Retry-After", whole)
		h.Set("X-RateLimit-Scope", "user")
		return limited(map[string]any{"message": message, "retry_after": seconds, "global": false})
	case LimitedShared:
		spent(h, seconds, s.cfg.Now())
		h.Set("Retry-After", whole)
		h.Set("X-RateLimit-Scope", "shared")
		return limited(map[string]any{"message": "The resource is being rate limited.", "retry_after": seconds, "global": false})
	case LimitedGlobal:
		noBucket(h)
		h.Set("Retry-After", whole)
		h.Set("X-RateLimit-Global", "true")
		h.Set("X-RateLimit-Scope", "global")
		return limited(map[string]any{"message": message, "retry_after": seconds, "global": true})
	case LimitedNoRetryAfter:
		noBucket(h)
		return limited(map[string]any{"message": message, "global": false})
	case LimitedOldEdit:
		return limited(map[string]any{"message": oldEditMessage, "code": 30046})
	case LimitedHTML:
		noBucket(h)
		return html(http.StatusTooManyRequests, "Access denied: you are being rate limited")
	case ServerError:
		text := strconv.Itoa(f.Status) + ": " + http.StatusText(f.Status)
		if f.HTML {
			noBucket(h)
			return html(f.Status, text)
		}
		return f.Status, marshal(map[string]any{"message": text, "code": f.Code}), false
	case DiscordError:
		return f.Status, marshal(map[string]any{"message": errorText(f.Code), "code": f.Code}), false
	case UnknownComponent:
		return f.unknownComponent(s, c, status, body)
	case BadReset:
		h.Set("X-RateLimit-Reset-After", "soon")
		return status, body, !f.Did
	case Empty:
		return http.StatusOK, []byte("[]"), false
	case Slow:
		return status, body, !f.Did
	}
	return status, body, false
}

// spent are the headers of a bucket that is used up.
func spent(h http.Header, seconds float64, now time.Time) {
	if h.Get("X-RateLimit-Limit") == "" {
		h.Set("X-RateLimit-Limit", "5")
	}
	h.Set("X-RateLimit-Remaining", "0")
	h.Set("X-RateLimit-Reset-After", strconv.FormatFloat(seconds, 'f', 3, 64))
	h.Set("X-RateLimit-Reset", strconv.FormatFloat(float64(now.UnixMilli())/1000+seconds, 'f', 3, 64))
}

func noBucket(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "X-Ratelimit-") {
			h.Del(name)
		}
	}
}

// unknownComponent is the right answer with one more component than a client
// library of today can know. When nothing was done the answer is made up.
func (f *Fault) unknownComponent(s *Server, c *call, status int, body []byte) (int, []byte, bool) {
	tomorrow := map[string]any{"type": 99, "id": 99, "custom_id": "tomorrow"}
	add := func(m map[string]any) {
		list, _ := m["components"].([]any)
		m["components"] = append(list, map[string]any{"type": 1, "id": 98, "components": []any{tomorrow}})
	}
	var answer any
	if !f.Did || decode(body, &answer) != nil {
		m := &message{Message: Message{ID: s.id(), Channel: s.channelOf(c), Author: s.cfg.BotUserID, Created: s.cfg.Now()}}
		made := s.wireMessage(m, true)
		add(made)
		return http.StatusOK, marshal(made), false
	}
	switch a := answer.(type) {
	case []any:
		for _, one := range a {
			if m, ok := one.(map[string]any); ok {
				add(m)
			}
		}
	case map[string]any:
		if resource, ok := a["resource"].(map[string]any); ok {
			if m, ok := resource["message"].(map[string]any); ok {
				add(m)
			}
		} else {
			add(a)
		}
	}
	return status, marshal(answer), false
}
