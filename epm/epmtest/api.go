package epmtest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	tokenPath  = "/oauth/connect/token"
	apiRoot    = "/management-api/"
	appPath    = "/management-api/v2/authorizationrequest" // as normalPath writes it
	adminPath  = "/management-api/v2/adminaccessrequest"
	maxBody    = 1 << 20 // bytes of a call's body
	tokenScope = "urn:management:api"

	defaultPageSize = 50
	maxPageSize     = 200
)

// answer is what a call gets, before faults.
type answer struct {
	status      int
	contentType string
	body        []byte
	header      map[string]string
	did         bool
}

// errCut says that the caller gets no answer.
var errCut = errors.New("connection cut")

// ServeHTTP is the whole API.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	s.running.Add(1) // Close waits for answers that are held back
	s.mu.Unlock()
	defer s.running.Done()

	call := &Call{At: s.now(), Wall: time.Now(), Method: r.Method, Path: r.URL.Path, Endpoint: s.endpoint(r.URL.Path)}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	switch call.Endpoint {
	case AppDecision, AdminDecision:
		call.RequestID = peekRequestID(body)
	case ReadApp, ReadAdmin:
		call.Query = r.URL.RawQuery
		call.RequestID = recordID(r.URL.Path)
	}
	s.mu.Lock()
	s.counts[call.Endpoint]++
	s.changedLocked()
	s.mu.Unlock()

	var a answer
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		a, err = problem(http.StatusRequestEntityTooLarge, "The body is too large.", nil), nil
	case err != nil:
		err = errCut
	default:
		a, err = s.answer(r, body, call)
	}
	if err == nil {
		call.Status = a.status
	}
	s.mu.Lock()
	s.calls.add(*call)
	s.changedLocked()
	s.mu.Unlock()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	if a.contentType != "" {
		w.Header().Set("Content-Type", a.contentType)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body)
}

// answer applies what can go wrong on the way to process.
func (s *Server) answer(r *http.Request, body []byte, call *Call) (answer, error) {
	if r.Method == http.MethodPost && createsAdminRequest(r.URL.Path) {
		s.mu.Lock()
		s.violations = append(s.violations, "POST "+r.URL.Path+" would create an admin access request")
		s.mu.Unlock()
		if !strings.Contains(r.URL.Path, "//") {
			return answer{status: http.StatusOK}, nil
		}
	}
	if strings.Contains(r.URL.Path, "//") {
		return methodNotAllowed(""), nil
	}
	if wait, ok := s.withinRate(); !ok {
		a := problem(http.StatusTooManyRequests, "Too many requests.", nil)
		a.header = map[string]string{"Retry-After": seconds(wait)}
		return a, nil
	}
	ctx := r.Context()
	process := func() answer {
		a := s.process(r, body, call)
		call.Did = a.did
		return a
	}
	if f := s.takeFault(call.Endpoint, call.RequestID); f != nil {
		return s.fail(ctx, f, call, process)
	}
	switch s.Mode() {
	case Slow:
		call.Fault = "slow"
		if !s.pause(ctx, s.cfg.SlowBy) {
			return answer{}, errCut
		}
	case Failing:
		call.Fault = "failing"
		return problem(http.StatusServiceUnavailable, "The service is unavailable.", nil), nil
	}
	return process(), nil
}

func (s *Server) fail(ctx context.Context, f *Fault, call *Call, process func() answer) (answer, error) {
	call.Fault = f.Kind.String()
	var a answer
	if f.Did {
		a = process()
	}
	if !s.pause(ctx, f.Delay) {
		return answer{}, errCut
	}
	switch f.Kind {
	case Drop:
		return answer{}, errCut
	case Hang:
		select {
		case <-ctx.Done():
		case <-s.ctx.Done():
		}
		return answer{}, errCut
	case Answer:
		call.Fault += " " + strconv.Itoa(f.Status)
		a = problem(f.Status, "The request could not be processed.", nil)
		if f.Status == http.StatusUnauthorized {
			a = unauthorized()
		}
		if call.Endpoint == Token && f.Status < 500 && f.Status != http.StatusTooManyRequests {
			a = oauthError(f.Status, "invalid_client", "")
		}
	case HTMLPage:
		call.Fault += " " + strconv.Itoa(f.Status)
		a = answer{status: f.Status, contentType: orDefault(f.ContentType, "text/html; charset=utf-8"), body: fmt.Appendf(nil,
			"<!DOCTYPE html>\n<html><head><title>%d %s</title></head><body><h1>%s</h1><p>Gateway</p></body></html>\n",
			f.Status, http.StatusText(f.Status), http.StatusText(f.Status))}
	case Garbage:
		a = answer{status: http.StatusOK, contentType: "application/json", body: []byte(`{"data":[{"id":`)}
	default:
		if !f.Did {
			a = process()
		}
	}
	if f.RetryAfter > 0 {
		if a.header == nil {
			a.header = map[string]string{}
		}
		a.header["Retry-After"] = seconds(f.RetryAfter)
	}
	return a, nil
}

// process does what a call asks for and says what EPM would answer.
func (s *Server) process(r *http.Request, body []byte, call *Call) answer {
	switch call.Endpoint {
	case Token:
		return s.issueToken(r, body)
	case Other:
		if a, ok := s.swagger(r); ok {
			return a
		}
		return problem(http.StatusNotFound, "Not Found", nil)
	}
	if !s.authorized(r) {
		return unauthorized()
	}
	s.mu.Lock()
	forbidden := s.forbidden&call.Endpoint != 0
	s.mu.Unlock()
	if forbidden {
		return problem(http.StatusForbidden, "Forbidden", nil)
	}
	switch call.Endpoint {
	case AppDecision, AdminDecision:
		if r.Method != http.MethodPost {
			return methodNotAllowed(http.MethodPost)
		}
		if mediaType(r) != "application/json" {
			return problem(http.StatusUnsupportedMediaType, "Unsupported Media Type", nil)
		}
		return s.decide(body, call)
	default:
		return s.read(r, call)
	}
}

func (s *Server) issueToken(r *http.Request, body []byte) answer {
	if r.Method != http.MethodPost {
		return methodNotAllowed(http.MethodPost)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.forbidden&Token != 0 {
		return oauthError(http.StatusForbidden, "unauthorized_client", "")
	}
	if mediaType(r) != "application/x-www-form-urlencoded" {
		return oauthError(http.StatusBadRequest, "invalid_request", "the body must be a form")
	}
	if r.Header.Get("Authorization") != "" {
		return oauthError(http.StatusBadRequest, "invalid_client", "client_id and client_secret belong in the POST body")
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return oauthError(http.StatusBadRequest, "invalid_request", "the body must be a form")
	}
	if form.Get("grant_type") != "client_credentials" {
		return oauthError(http.StatusBadRequest, "unsupported_grant_type", "")
	}
	if form.Get("client_id") != s.cfg.ClientID || form.Get("client_secret") != s.secret {
		return oauthError(http.StatusBadRequest, "invalid_client", "")
	}
	now := s.now()
	for t, until := range s.tokens {
		if !now.Before(until) {
			delete(s.tokens, t)
		}
	}
	token := rand.Text()
	s.tokens[token] = now.Add(s.cfg.TokenLife)
	a := jsonAnswer(http.StatusOK, struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ExpiresIn   int    `json:"expires_in"`
		Scope       string `json:"scope"`
	}{token, "Bearer", int(s.cfg.TokenLife / time.Second), tokenScope})
	a.header = map[string]string{"Cache-Control": "no-store"}
	a.did = true
	return a
}

func (s *Server) authorized(r *http.Request) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	until, ok := s.tokens[token]
	return ok && now.Before(until)
}

// withinRate counts a request and reports whether it is allowed, and if not,
// how long until one is.
func (s *Server) withinRate() (time.Duration, bool) {
	if s.cfg.RateLimit < 0 {
		return 0, true
	}
	now := s.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.window) > 0 && now.Sub(s.window[0]) >= s.cfg.RateWindow {
		s.window = s.window[1:]
	}
	if len(s.window) >= s.cfg.RateLimit {
		return s.window[0].Add(s.cfg.RateWindow).Sub(now), false
	}
	s.window = append(s.window, now)
	return 0, true
}

// envelope holds one page of a list.
type envelope struct {
	Data             []any `json:"data"`
	TotalRecordCount int   `json:"totalRecordCount"`
	PageNumber       int   `json:"pageNumber"`
	PageSize         int   `json:"pageSize"`
	PageCount        int   `json:"pageCount"`
}

func (s *Server) read(r *http.Request, call *Call) answer {
	kind := KindApp
	if call.Endpoint == ReadAdmin {
		kind = KindAdmin
	}
	if call.RequestID != "" {
		isID := uuidForm.MatchString(call.RequestID)
		if r.Method != http.MethodGet && isID {
			return methodNotAllowed(http.MethodGet)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, q := range s.order {
			if isID && q.Kind == kind && strings.EqualFold(q.pathID(), call.RequestID) {
				found := q.record()
				if kind == KindAdmin {
					// https://docs.beyondtrust.com/epm-wm/reference/get_v2-adminaccessrequest-requestid
					found = []any{found}
				}
				a := jsonAnswer(http.StatusOK, found)
				a.did = true
				return a
			}
		}
		return problem(http.StatusNotFound, "Not Found", nil)
	}
	if r.Method != http.MethodGet {
		return methodNotAllowed(http.MethodGet)
	}

	query := map[string]string{} // the names are compared without regard to case
	for k, v := range r.URL.Query() {
		query[strings.ToLower(k)] = v[len(v)-1]
	}
	wrong := map[string][]string{}
	size, ok := number(query["pagination.pagesize"], defaultPageSize)
	if !ok || size > maxPageSize {
		wrong["Pagination.PageSize"] = []string{fmt.Sprintf("The value must be between 1 and %d.", maxPageSize)}
	}
	page, ok := number(query["pagination.pagenumber"], 1)
	if !ok {
		wrong["Pagination.PageNumber"] = []string{"The value must be 1 or more."}
	}
	oldestFirst := s.cfg.OldestFirst
	switch strings.ToLower(query["sorts[0].order"]) {
	case "":
	case "asc":
		oldestFirst = true
	case "desc":
		oldestFirst = false
	default:
		wrong["Sorts[0].order"] = []string{"The value must be asc or desc."}
	}
	if len(wrong) > 0 {
		return problem(http.StatusBadRequest, "One or more validation errors occurred.", wrong)
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	var all []any
	for _, q := range s.order {
		if q.Kind == kind {
			all = append(all, q.record())
		}
	}
	for _, r := range s.odd[kind] {
		all = append(all, r)
	}
	out := envelope{
		Data:             []any{},
		TotalRecordCount: len(all),
		PageNumber:       page,
		PageSize:         size,
		PageCount:        (len(all) + size - 1) / size,
	}
	if page <= out.PageCount {
		for i := (page - 1) * size; i < min(page*size, len(all)); i++ {
			q := all[len(all)-1-i]
			if oldestFirst {
				q = all[i]
			}
			out.Data = append(out.Data, q)
		}
	}
	a := jsonAnswer(http.StatusOK, out)
	a.did = true
	return a
}

// number reads a positive number; nothing at all means the default.
func number(text string, fallback int) (int, bool) {
	if text == "" {
		return fallback, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n > 0 && n <= 1_000_000
}

// endpoint says which part of the API a path belongs to.
func (s *Server) endpoint(path string) Endpoint {
	p := normalPath(path)
	switch {
	case p == tokenPath:
		return Token
	case p == normalPath(s.cfg.AppDecisionPath):
		return AppDecision
	case p == normalPath(s.cfg.AdminDecisionPath):
		return AdminDecision
	case p == appPath, strings.HasPrefix(p, appPath+"/") && recordID(p) != "":
		return ReadApp
	case p == adminPath, strings.HasPrefix(p, adminPath+"/") && recordID(p) != "":
		return ReadAdmin
	}
	return Other
}

// normalPath writes all spellings of one address alike: letter case, one
// trailing slash, version 2 or 3.
func normalPath(path string) string {
	p := strings.ToLower(path)
	if len(p) > 1 && !strings.HasSuffix(p, "//") {
		p = strings.TrimSuffix(p, "/")
	}
	if rest, ok := strings.CutPrefix(p, apiRoot+"v3/"); ok {
		p = apiRoot + "v2/" + rest
	}
	return p
}

// createsAdminRequest reports whether a POST to path would create an admin
// access request: the address of the list itself, in any version.
func createsAdminRequest(path string) bool {
	p := strings.ToLower(strings.TrimRight(path, "/"))
	return strings.HasSuffix(p, "/adminaccessrequest")
}

// recordID is the last segment of a record's path, or "" for a list.
func recordID(path string) string {
	p := normalPath(path)
	for _, list := range []string{appPath, adminPath} {
		if id, ok := strings.CutPrefix(p, list+"/"); ok && !strings.Contains(id, "/") {
			return id
		}
	}
	return ""
}

var uuidForm = regexp.MustCompile(`^(?i)[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

func mediaType(r *http.Request) string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

func jsonAnswer(status int, v any) answer {
	body, err := json.Marshal(v)
	if err != nil {
		return answer{status: http.StatusInternalServerError}
	}
	return answer{status: status, contentType: "application/json; charset=utf-8", body: body}
}

// problem is an error in the form that ASP.NET gives to its errors. The
// vendor's own error bodies are not documented.
func problem(status int, title string, fields map[string][]string) answer {
	a := jsonAnswer(status, struct {
		Type   string              `json:"type"`
		Title  string              `json:"title"`
		Status int                 `json:"status"`
		Errors map[string][]string `json:"errors,omitempty"`
	}{"https://tools.ietf.org/html/rfc9110#section-15", title, status, fields})
	a.contentType = "application/problem+json; charset=utf-8"
	return a
}

func oauthError(status int, code, description string) answer {
	return jsonAnswer(status, struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{code, description})
}

func unauthorized() answer {
	return answer{status: http.StatusUnauthorized, header: map[string]string{"WWW-Authenticate": `Bearer error="invalid_token"`}}
}

func methodNotAllowed(allow string) answer {
	a := problem(http.StatusMethodNotAllowed, "Method Not Allowed", nil)
	if allow != "" {
		a.header = map[string]string{"Allow": allow}
	}
	return a
}

// seconds rounds up, as a Retry-After header wants whole seconds.
func seconds(d time.Duration) string {
	return strconv.Itoa(int((d + time.Second - 1) / time.Second))
}
