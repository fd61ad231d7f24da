package discordtest

import (
	"fmt"
	"io"
	"maps"
	"math"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Call is one request to the REST API.
type Call struct {
	N      int // counts all calls from 1
	Method string
	Path   string // without /api/v10, unescaped
	Route  string // the path with names for what varies: "/channels/{channel}/messages"; "" for an unknown one
	Query  url.Values
	Body   []byte // of a call with files: its payload_json
	Files  []File
	At     time.Time
	Status int  // of the answer; 0 when the connection was dropped
	Code   int  // Discord's error code in the answer; 0 when there is none
	Did    bool // whether the call took effect, whatever was answered
	Answer []byte
}

// Calls lists the last calls, oldest first. See Config.CallLog.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// CallsTo lists the last calls of one route, oldest first; see [Server.Count].
func (s *Server) CallsTo(route string) []Call {
	return slices.DeleteFunc(s.Calls(), func(c Call) bool { return c.Route != route && c.Method+" "+c.Route != route })
}

// Count is how many calls of a route there ever were. A method may stand
// before the route: "POST /channels/{channel}/messages".
func (s *Server) Count(route string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[route]
}

// InvalidRequests counts the answers 401, 403 and 429, except those of a
// shared limit: 10,000 of them in 10 minutes and Discord bans the address
// (discord.com/developers/docs/topics/rate-limits).
func (s *Server) InvalidRequests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.invalid
}

func (s *Server) record(c Call) {
	s.callN++
	c.N = s.callN
	s.counts[c.Route]++
	s.counts[c.Method+" "+c.Route]++
	s.calls = append(s.calls, c)
	if len(s.calls) > s.cfg.CallLog {
		s.calls = slices.Delete(s.calls, 0, len(s.calls)-s.cfg.CallLog)
	}
}

// call is a request while it is answered.
type call struct {
	method string
	path   string
	route  string
	params map[string]string // what the route's names stand for
	query  url.Values
	header http.Header
	body   []byte // of a call with files: its payload_json
	sent   []byte // the body as it came
	files  []File
}

// where names a call in violations.
func (c *call) where() string {
	if c.route == "" {
		return c.method + " " + c.path
	}
	return c.method + " " + c.route
}

// reply is what a route answers: an error, or a status with a body; a nil body is none.
type reply struct {
	status int
	body   any
	err    *apiError
}

// apiError is an answer in Discord's form of errors.
type apiError struct {
	status  int
	code    int
	message string // default that of the code
	errors  map[string]any
	retry   time.Duration // of a 429
	global  bool
}

func (e *apiError) Error() string { return fmt.Sprintf("%d %s", e.code, e.text()) }

func (e *apiError) text() string {
	if e.message != "" {
		return e.message
	}
	return errorText(e.code)
}

func fail(status, code int) reply { return reply{err: &apiError{status: status, code: code}} }
func ok(body any) reply           { return reply{status: http.StatusOK, body: body} }
func noContent() reply            { return reply{status: http.StatusNoContent} }
func refuse(err *apiError) reply  { return reply{err: err} }

const oldEditMessage = "Maximum number of edits to messages older than 1 hour reached. Try again later."

// errorTexts are the messages of the codes that this Discord uses
// (discord.com/developers/docs/topics/opcodes-and-status-codes).
var errorTexts = map[int]string{
	10003:  "Unknown Channel",
	10004:  "Unknown Guild",
	10007:  "Unknown Member",
	10008:  "Unknown Message",
	10011:  "Unknown Role",
	10013:  "Unknown User",
	10015:  "Unknown Webhook",
	10062:  "Unknown interaction",
	30046:  oldEditMessage,
	40001:  "Unauthorized",
	40005:  "Request entity too large",
	40060:  "Interaction has already been acknowledged.",
	50001:  "Missing Access",
	50005:  "Cannot edit a message authored by another user",
	50006:  "Cannot send an empty message",
	50007:  "Cannot send messages to this user",
	50008:  "Cannot send messages in a non-text channel",
	50013:  "Missing Permissions",
	50024:  "Cannot execute action on this channel type",
	50025:  "Invalid OAuth2 access token",
	50027:  "Invalid Webhook Token",
	50033:  "Invalid Recipient(s)",
	50035:  "Invalid Form Body",
	50041:  "Invalid API version provided",
	50083:  "Thread is archived",
	50109:  "The request body contains invalid JSON.",
	160004: "A thread has already been created for this message",
	160005: "Thread is locked",
}

func errorText(code int) string {
	if t := errorTexts[code]; t != "" {
		return t
	}
	return "Error " + strconv.Itoa(code)
}

// route is one path of the API and what answers it.
type route struct {
	method   string
	template string
	noToken  bool // works without the bot's token
	serve    func(*Server, *call) reply
}

var routes = []route{
	{"GET", "/users/@me", false, (*Server).getSelf},
	{"POST", "/users/@me/channels", false, (*Server).openDM},
	{"GET", "/applications/@me", false, (*Server).getApplication},
	{"GET", "/oauth2/applications/@me", false, (*Server).getApplication},
	{"GET", "/gateway", true, (*Server).getGateway},
	{"GET", "/gateway/bot", false, (*Server).getGatewayBot},
	{"GET", "/channels/{channel}", false, (*Server).getChannel},
	{"GET", "/channels/{channel}/messages", false, (*Server).listMessages},
	{"POST", "/channels/{channel}/messages", false, (*Server).createMessage},
	{"GET", "/channels/{channel}/messages/{message}", false, (*Server).getMessage},
	{"PATCH", "/channels/{channel}/messages/{message}", false, (*Server).editMessage},
	{"DELETE", "/channels/{channel}/messages/{message}", false, (*Server).deleteMessage},
	{"POST", "/channels/{channel}/messages/{message}/threads", false, (*Server).startThread},
	{"GET", "/guilds/{guild}", false, (*Server).getGuild},
	{"GET", "/guilds/{guild}/roles", false, (*Server).getRoles},
	{"GET", "/guilds/{guild}/roles/member-counts", false, (*Server).getRoleCounts},
	{"GET", "/guilds/{guild}/channels", false, (*Server).getChannels},
	{"GET", "/guilds/{guild}/members/{user}", false, (*Server).getMember},
	{"GET", "/applications/{application}/guilds/{guild}/commands", false, (*Server).getCommands},
	{"PUT", "/applications/{application}/guilds/{guild}/commands", false, (*Server).putCommands},
	{"POST", "/interactions/{interaction}/{token}/callback", true, (*Server).callback},
	{"POST", "/webhooks/{application}/{token}", true, (*Server).followUp},
	{"GET", "/webhooks/{application}/{token}/messages/{message}", true, (*Server).getAnswer},
	{"PATCH", "/webhooks/{application}/{token}/messages/{message}", true, (*Server).editAnswer},
	{"DELETE", "/webhooks/{application}/{token}/messages/{message}", true, (*Server).deleteAnswer},
}

func findRoute(method, path string) (*route, map[string]string) {
	parts := strings.Split(path, "/")
next:
	for i := range routes {
		r := &routes[i]
		names := strings.Split(r.template, "/")
		if r.method != method || len(names) != len(parts) {
			continue
		}
		params := map[string]string{}
		for j, name := range names {
			switch {
			case strings.HasPrefix(name, "{"):
				params[strings.Trim(name, "{}")] = parts[j]
			case name != parts[j]:
				continue next
			}
		}
		return r, params
	}
	return nil, nil
}

// userAgent is the form that Discord asks for (discord.com/developers/docs/reference).
var userAgent = regexp.MustCompile(`^DiscordBot \(\S+, [^)]+\)`)

const maxBody = 25 << 20

func (s *Server) serveAPI(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody))
	if err != nil {
		panic(http.ErrAbortHandler) // the client went away
	}
	version, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/api/"), "/")
	c := &call{method: r.Method, path: "/" + path, query: r.URL.Query(), header: r.Header, body: body, sent: body}
	to, params := findRoute(c.method, c.path)
	if to != nil {
		c.route, c.params = to.template, params
	}

	s.mu.Lock()
	latency := s.latency
	fault := s.takeFault(c)
	s.mu.Unlock()
	if !s.wait(r.Context(), latency) {
		panic(http.ErrAbortHandler)
	}

	h := http.Header{"Content-Type": {"application/json"}, "Date": {s.cfg.Now().UTC().Format(http.TimeFormat)}}
	right, status, answer, drop := s.answer(c, to, version, fault, h)
	if right != nil {
		right.Path = r.URL.RequestURI()
		s.check(*right)
	}
	if fault != nil && !s.wait(r.Context(), fault.Delay) || drop {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), h)
	w.WriteHeader(status)
	_, _ = w.Write(answer) // a client that went away is not our problem
}

// answer runs a route and spoils its answer as a fault says. What the fault
// did not touch is returned too, if the call went well.
func (s *Server) answer(c *call, to *route, version string, fault *Fault, h http.Header) (right *Exchange, status int, answer []byte, drop bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limited := s.headers(h, c)
	rep, ready := s.admit(c, to, version)
	if ready && limited != nil {
		rep, ready = refuse(limited), false
	}
	ran := ready && (fault == nil || fault.Did)
	if ran {
		rep = to.serve(s, c)
	}
	did := ran && rep.err == nil
	status, answer = render(rep, h)
	if did {
		right = &Exchange{Method: c.method, Header: c.header, Body: c.sent, Status: status, AnswerHeader: h.Clone(), Answer: answer}
	}
	if fault != nil {
		status, answer, drop = fault.answer(s, c, status, h, answer)
	}
	s.record(s.callRecord(c, status, answer, drop, did, h))
	return right, status, answer, drop
}

// check asks Config.Check, without the lock: it takes its time.
func (s *Server) check(e Exchange) {
	if s.cfg.Check == nil {
		return
	}
	found := s.cfg.Check(e)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range found {
		s.violate("%s %s: %s", e.Method, e.Path, f)
	}
}

func (s *Server) callRecord(c *call, status int, answer []byte, drop, did bool, h http.Header) Call {
	rec := Call{Method: c.method, Path: c.path, Route: c.route, Query: c.query, Body: c.body, Files: c.files, At: s.cfg.Now(), Status: status, Did: did, Answer: answer}
	if drop {
		rec.Status, rec.Answer = 0, nil
		return rec
	}
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		if h.Get("X-RateLimit-Scope") != "shared" {
			s.invalid++
		}
	}
	var said struct {
		Code int `json:"code"`
	}
	if status >= 400 && decode(answer, &said) == nil {
		rec.Code = said.Code
	}
	return rec
}

// mostRefused is how many calls with a refused token are still taken for
// calls that were on their way.
const mostRefused = 20

// admit checks everything that comes before the route itself. It reports
// whether the route may run.
func (s *Server) admit(c *call, to *route, version string) (reply, bool) {
	if !userAgent.MatchString(c.header.Get("User-Agent")) {
		s.violate("%s: User-Agent %q is not of the form DiscordBot (url, version)", c.where(), c.header.Get("User-Agent"))
	}
	if version != "v9" && version != "v10" {
		s.violate("%s: API version %q", c.where(), version)
		return fail(http.StatusBadRequest, 50041), false
	}
	if to == nil {
		s.violate("%s: not a route that this Discord knows", c.where())
		return refuse(&apiError{status: http.StatusNotFound, message: "404: Not Found"}), false
	}
	auth := c.header.Get("Authorization")
	if auth == "" && !to.noToken || auth != "" && (auth != "Bot "+s.cfg.BotToken || s.revoked) {
		if s.refused++; s.refused == mostRefused+1 {
			s.violate("%s: more than %d calls with a token that is refused", c.where(), mostRefused)
		}
		return refuse(&apiError{status: http.StatusUnauthorized, message: "401: Unauthorized"}), false
	}
	for _, name := range slices.Sorted(maps.Keys(c.params)) {
		v := c.params[name]
		if name != "token" && !(name == "message" && v == "@original") && !(name == "user" && v == "@me") && !isSnowflake(v) {
			p := &problems{}
			p.bad(name+"_id", "NUMBER_TYPE_COERCE", fmt.Sprintf("Value %q is not snowflake.", v))
			return refuse(p.err()), false
		}
	}
	if len(c.body) > 0 {
		kind, params, err := mime.ParseMediaType(c.header.Get("Content-Type"))
		switch {
		case err == nil && kind == "application/json":
		case err == nil && kind == "multipart/form-data" && contains(withFiles, c.where()):
			if e := s.readFiles(c, params["boundary"]); e != nil {
				return refuse(e), false
			}
		default:
			s.violate("%s: Content-Type %q; this Discord reads application/json, and files in messages only", c.where(), c.header.Get("Content-Type"))
			return fail(http.StatusBadRequest, 50035), false
		}
	}
	return reply{}, true
}

func render(rep reply, h http.Header) (int, []byte) {
	if e := rep.err; e != nil {
		body := map[string]any{"message": e.text(), "code": e.code}
		if e.errors != nil {
			body["errors"] = e.errors
		}
		if e.status == http.StatusTooManyRequests && e.code == 0 {
			delete(body, "code")
			body["retry_after"], body["global"] = e.retry.Seconds(), e.global
			h.Set("Retry-After", strconv.Itoa(int(math.Ceil(e.retry.Seconds()))))
			if e.global {
				h.Set("X-RateLimit-Global", "true")
				h.Set("X-RateLimit-Scope", "global")
			} else {
				h.Set("X-RateLimit-Scope", "user")
			}
		}
		return e.status, marshal(body)
	}
	if rep.body == nil {
		h.Del("Content-Type")
		return rep.status, nil
	}
	return rep.status, marshal(rep.body)
}

// bucket counts the calls of one window.
type bucket struct {
	used  int
	start time.Time
}

// take counts one call; wait says how long to wait when there is no room for it.
func (s *Server) take(key string, most int, window time.Duration) (left int, reset, wait time.Duration) {
	now := s.cfg.Now()
	b := s.buckets[key]
	if b == nil || now.Sub(b.start) >= window {
		b = &bucket{start: now}
		s.buckets[key] = b
	}
	reset = b.start.Add(window).Sub(now)
	if b.used >= most {
		return 0, reset, reset
	}
	b.used++
	return most - b.used, reset, 0
}

// Limits that Discord enforces. Only that of all requests together is
// documented; posts and edits are common experience.
const (
	postsPerChannel  = 5
	postWindow       = 5 * time.Second
	oldEdits         = 3
	oldEditWindow    = 6 * time.Second
	oldAge           = time.Hour
	requestsPerBot   = 50
	defaultPerBucket = 50
)

// headers sets those about rate limits, which every answer has, and reports
// a limit that is reached.
func (s *Server) headers(h http.Header, c *call) *apiError {
	if c.route == "" {
		return nil
	}
	interaction := strings.HasPrefix(c.route, "/interactions/") || strings.HasPrefix(c.route, "/webhooks/")
	if s.cfg.Limits && !interaction {
		if _, _, wait := s.take("global", requestsPerBot, time.Second); wait > 0 {
			return &apiError{status: http.StatusTooManyRequests, message: "You are being rate limited.", retry: wait, global: true}
		}
	}
	most, window := defaultPerBucket, time.Second
	if c.route == "/channels/{channel}/messages" && c.method == http.MethodPost || c.route == "/channels/{channel}/messages/{message}" || interaction {
		most, window = postsPerChannel, postWindow
	}
	left, reset, wait := most-1, window, time.Duration(0)
	key := c.method + " " + c.route + " " + c.params["channel"] + c.params["guild"] + c.params["token"]
	if s.cfg.Limits {
		left, reset, wait = s.take(key, most, window)
	}
	h.Set("X-RateLimit-Limit", strconv.Itoa(most))
	h.Set("X-RateLimit-Remaining", strconv.Itoa(left))
	h.Set("X-RateLimit-Reset-After", strconv.FormatFloat(reset.Seconds(), 'f', 3, 64))
	h.Set("X-RateLimit-Reset", strconv.FormatFloat(float64(s.cfg.Now().Add(reset).UnixMilli())/1000, 'f', 3, 64))
	h.Set("X-RateLimit-Bucket", bucketName(c.method+" "+c.route))
	if wait > 0 {
		return &apiError{status: http.StatusTooManyRequests, message: "You are being rate limited.", retry: wait}
	}
	return nil
}

// bucketName is an opaque name, the same for the same route.
func bucketName(route string) string {
	var sum uint64 = 14695981039346656037 // FNV-1a
	for _, b := range []byte(route) {
		sum = (sum ^ uint64(b)) * 1099511628211
	}
	return fmt.Sprintf("%016x", sum)
}
