package slacktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Call is one request to the Web API, or to a response_url under the method
// name "response_url".
type Call struct {
	N      int // counts all calls from 1
	Method string
	Args   map[string]string // without the token; JSON values as they were sent
	At     time.Time
	Status int    // HTTP status of the answer; 0 when the connection was dropped
	Error  string // Slack's error name in the answer; "" for ok
	Did    bool   // whether the call took effect, whatever was answered
	Answer json.RawMessage
}

// Calls lists the last calls, oldest first. See Config.CallLog.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// CallsTo lists the last calls of one method, oldest first.
func (s *Server) CallsTo(method string) []Call {
	return slices.DeleteFunc(s.Calls(), func(c Call) bool { return c.Method != method })
}

// Count is how many calls of a method there ever were.
func (s *Server) Count(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[method]
}

func (s *Server) record(c Call) {
	s.callN++
	c.N = s.callN
	s.counts[c.Method]++
	s.calls = append(s.calls, c)
	if len(s.calls) > s.cfg.CallLog {
		s.calls = slices.Delete(s.calls, 0, len(s.calls)-s.cfg.CallLog)
	}
}

// args are the arguments of a call: text as it is, everything else as JSON.
type args map[string]string

// given reports an argument that says something: clients send blocks=null or "" for nothing.
func (a args) given(name string) bool {
	v := strings.TrimSpace(a[name])
	return v != "" && v != "null"
}

func (a args) bool(name string) bool {
	return a[name] == "1" || strings.EqualFold(a[name], "true")
}

// reply is what a method answers.
type reply struct {
	err     string
	body    map[string]any
	details []string // response_metadata.messages
	needed  []string // scopes, with missing_scope
	retry   time.Duration
}

func fail(name string, details ...string) reply { return reply{err: name, details: details} }

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request, method string) {
	a, tok, problem := readArgs(r)

	s.mu.Lock()
	latency := s.latency
	fault := s.takeFault(method, a)
	s.mu.Unlock()
	if !s.wait(r.Context(), latency) {
		panic(http.ErrAbortHandler)
	}

	s.mu.Lock()
	t := s.tokens[tok]
	rep, ready := s.admit(method, a, tok, t, problem)
	did := false
	if ready && (fault == nil || fault.Did) {
		rep = methods[method](s, a, t)
		did = rep.err == ""
		s.checkVocabulary(method, rep.err)
	}
	status, header, body := s.render(method, t, rep)
	drop := false
	if fault != nil {
		status, body, drop = fault.answer(s, method, a, status, header, body)
	}
	call := Call{Method: method, Args: map[string]string(a), At: s.cfg.Now(), Status: status, Did: did, Answer: body}
	if drop {
		call.Status, call.Answer = 0, nil
	}
	var said struct {
		OK    bool   `json:"ok"`
		Error string `json:"error"`
	}
	if json.Unmarshal(body, &said) == nil && !drop {
		call.Error = said.Error
	}
	s.record(call)
	s.mu.Unlock()

	if fault != nil && !s.wait(r.Context(), fault.Delay) || drop {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), header)
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that went away is not our problem
}

// admit checks everything that comes before the method itself. It reports
// whether the method may run.
func (s *Server) admit(method string, a args, tok string, t *token, problem string) (reply, bool) {
	set, _ := specs()
	spec := set.methods[method]
	if spec == nil || methods[method] == nil {
		s.violate("%s: not a method that this Slack knows", method)
		return fail("unknown_method"), false
	}
	if problem != "" {
		s.violate("%s: %s", method, problem)
		return fail(problem), false
	}
	var wrong []string
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if _, known := spec.Args[name]; !known && !slices.Contains(s.cfg.AllowArgs, name) {
			wrong = append(wrong, "unknown argument: "+name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(spec.Args)) {
		if spec.Args[name].Required && a[name] == "" {
			wrong = append(wrong, "missing required field: "+name)
		}
	}
	for _, w := range wrong {
		s.violate("%s: %s", method, w)
	}
	switch {
	case tok == "":
		return fail("not_authed"), false
	case t == nil:
		return fail("invalid_auth"), false
	case t.err != "":
		return fail(t.err), false
	case t.app != (method == "apps.connections.open") && method != "auth.test":
		return fail("not_allowed_token_type"), false
	}
	if needed := s.missingScope(method, spec, a, t); needed != nil {
		return reply{err: "missing_scope", needed: needed}, false
	}
	if len(wrong) > 0 {
		for i := range wrong {
			wrong[i] = "[ERROR] " + wrong[i]
		}
		return fail("invalid_arguments", wrong...), false
	}
	if wait := s.limited(method, spec, a); wait > 0 {
		return reply{err: "ratelimited", retry: wait}, false
	}
	return reply{}, true
}

// missingScope names the scopes that would be needed. Of the scopes on a
// method's page one is enough, but for conversations.* it must be the one for
// that kind of conversation.
func (s *Server) missingScope(method string, spec *methodSpec, a args, t *token) []string {
	listed := spec.scopes()
	if method == "apps.connections.open" {
		listed = []string{"connections:write"}
	}
	if len(listed) == 0 {
		return nil
	}
	if method == "conversations.open" {
		listed = []string{"im:write"} // this fake opens direct messages only
	} else if c := s.channels[a["channel"]]; c != nil && strings.HasPrefix(method, "conversations.") {
		kind := "channels:"
		if c.DM != "" {
			kind = "im:"
		} else if c.Private {
			kind = "groups:"
		}
		listed = slices.DeleteFunc(listed, func(x string) bool { return !strings.HasPrefix(x, kind) })
	}
	for _, x := range listed {
		if slices.Contains(t.scopes, x) {
			return nil
		}
	}
	return listed
}

// checkVocabulary finds mistakes of this fake: it may only answer what Slack documents.
func (s *Server) checkVocabulary(method, err string) {
	if err == "" {
		return
	}
	set, _ := specs()
	if _, ok := set.common[err]; ok {
		return
	}
	if _, ok := set.methods[method].Errors[err]; !ok {
		s.violate("slacktest itself: answers %s with %s, which is not on the method's page", method, err)
	}
}

func (s *Server) render(method string, t *token, rep reply) (int, http.Header, []byte) {
	h := http.Header{"Content-Type": {"application/json; charset=utf-8"}}
	if t != nil {
		h.Set("X-OAuth-Scopes", strings.Join(t.scopes, ","))
		if set, _ := specs(); set.methods[method] != nil {
			h.Set("X-Accepted-OAuth-Scopes", strings.Join(set.methods[method].scopes(), ","))
		}
	}
	if rep.err == "" {
		body := map[string]any{"ok": true}
		maps.Copy(body, rep.body)
		return http.StatusOK, h, marshal(body)
	}
	body := map[string]any{"ok": false, "error": rep.err}
	if len(rep.details) > 0 {
		body["errors"] = rep.details
		body["response_metadata"] = map[string]any{"messages": rep.details}
	}
	if rep.needed != nil {
		body["needed"] = strings.Join(rep.needed, ",")
		body["provided"] = strings.Join(t.scopes, ",")
	}
	if rep.retry > 0 {
		h.Set("Retry-After", retryAfter(rep.retry))
		return http.StatusTooManyRequests, h, marshal(body)
	}
	return http.StatusOK, h, marshal(body)
}

func retryAfter(d time.Duration) string {
	return strconv.Itoa(int(math.Ceil(d.Seconds())))
}

// readArgs understands the wire forms of docs.slack.dev/apis/web-api: a form
// or JSON in a POST, the query of a GET; the token in the header or, outside
// JSON, among the arguments.
func readArgs(r *http.Request) (a args, tok, problem string) {
	a = args{}
	take := func(v url.Values) {
		for name, values := range v {
			a[name] = values[0]
		}
	}
	take(r.URL.Query())
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
		if err != nil {
			return a, "", "request_timeout"
		}
		kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
		switch {
		case len(body) == 0:
		case r.Header.Get("Content-Type") == "":
			return a, "", "missing_post_type"
		case err != nil:
			return a, "", "invalid_post_type"
		case kind == "application/json":
			if problem = readJSONArgs(a, body); problem != "" {
				return a, "", problem
			}
		case kind == "application/x-www-form-urlencoded":
			form, err := url.ParseQuery(string(body))
			if err != nil {
				return a, "", "invalid_form_data"
			}
			take(form)
		case kind == "multipart/form-data":
			r.Body = io.NopCloser(bytes.NewReader(body))
			if err := r.ParseMultipartForm(4 << 20); err != nil {
				return a, "", "invalid_form_data"
			}
			take(r.MultipartForm.Value)
		default:
			return a, "", "invalid_post_type"
		}
	}
	tok = a["token"]
	delete(a, "token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		tok = bearer
	}
	return a, tok, ""
}

func readJSONArgs(a args, body []byte) (problem string) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return "invalid_arguments"
	}
	for name, raw := range fields {
		var text string
		if json.Unmarshal(raw, &text) == nil && raw[0] == '"' {
			a[name] = text
			continue
		}
		if string(raw) == "null" {
			continue
		}
		a[name] = string(raw)
	}
	delete(a, "token") // Slack ignores a token inside JSON
	return ""
}

// limit is a token bucket's size and refill.
type limit struct {
	burst  float64
	perSec float64
}

type bucket struct {
	left float64
	at   time.Time
}

// limited takes from the bucket of a call and says how long to wait when it is
// empty. The tiers are on the method pages; chat.postMessage has its own rule,
// about one message per second and channel with short bursts
// (docs.slack.dev/apis/web-api/rate-limits).
func (s *Server) limited(method string, spec *methodSpec, a args) time.Duration {
	if !s.cfg.Limits {
		return 0
	}
	key, l := method, limit{burst: float64(spec.perMinute), perSec: float64(spec.perMinute) / 60}
	if method == "chat.postMessage" {
		key, l = method+" "+a["channel"], limit{burst: 3, perSec: 1}
	}
	if l.perSec == 0 {
		return 0
	}
	now := s.cfg.Now()
	b := s.buckets[key]
	if b == nil {
		b = &bucket{left: l.burst, at: now}
		s.buckets[key] = b
	}
	b.left = min(l.burst, b.left+now.Sub(b.at).Seconds()*l.perSec)
	b.at = now
	if b.left < 1 {
		return time.Duration((1 - b.left) / l.perSec * float64(time.Second))
	}
	b.left--
	return 0
}

func pointer(msg, at string) string { return fmt.Sprintf("[ERROR] %s [json-pointer:%s]", msg, at) }
