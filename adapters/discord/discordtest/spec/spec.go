// Package spec checks calls of Discord's HTTP API against Discord's own
// OpenAPI document.
//
// The document is specs/openapi.json of github.com/discord/discord-api-spec,
// commit 74fda0fad044 of 2026-07-18, unchanged, MIT (LICENSE-discord-api-spec).
// Discord calls it a public preview: renew it on purpose and read what changed.
//
// It says nothing about gateway events, inbound interactions and rules over
// several fields, such as the length of all embeds together or a custom_id
// used twice. Those are for package discordtest. Nor is the bot token checked
// here, because only the fake knows which one is right.
package spec

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

//go:embed openapi.json
var document []byte

// Checker checks exchanges with Discord's API. It is safe for concurrent use.
type Checker struct {
	router routers.Router
}

// New returns the checker. The document is read once per program, because that
// takes up to two seconds under the race detector.
func New() (*Checker, error) { return load() }

var load = sync.OnceValues(func() (*Checker, error) {
	doc, err := openapi3.NewLoader().LoadFromData(document)
	if err != nil {
		return nil, fmt.Errorf("read Discord's OpenAPI document: %w", err)
	}
	// The document wants an integer, Discord's documentation and every client a
	// string of digits.
	for _, name := range []string{"ApplicationCommandCreateRequest", "ApplicationCommandPatchRequestPartial", "ApplicationCommandUpdateRequest"} {
		schema := doc.Components.Schemas[name]
		if schema == nil || schema.Value.Properties["default_member_permissions"] == nil {
			return nil, fmt.Errorf("no default_member_permissions in %s of Discord's OpenAPI document", name)
		}
		p := schema.Value.Properties["default_member_permissions"].Value
		p.Type = &openapi3.Types{"integer", "string", "null"}
		p.Pattern = "^[0-9]+$"
	}
	// The library's validator for OpenAPI 3.1 compiles a schema anew for each
	// value, which costs up to 0.3 s per call under the race detector. Its
	// other validator does not, and knows all that the document uses except
	// const, which is an enum of one.
	err = doc.WalkSchemas(func(_ string, s *openapi3.SchemaRef) error {
		if s.Value.Const != nil {
			s.Value.Enum, s.Value.Const = []any{s.Value.Const}, nil
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("adapt Discord's OpenAPI document: %w", err)
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		return nil, fmt.Errorf("routes of Discord's OpenAPI document: %w", err)
	}
	return &Checker{router: router}, nil
})

// Exchange returns what is wrong with one call, one sentence each: with the
// request always, with the answer if it is a 2xx. (The document's schemas of
// errors refuse what Discord documents about errors.) The path starts with
// /api/v9 or /api/v10, and may have a query and escapes. A request that was
// refused is checked all the same; whether that was the plan is for the caller
// to know.
func (c *Checker) Exchange(method, path string, header http.Header, body []byte, status int, answerHeader http.Header, answer []byte) []string {
	r := report{call: method + " " + path}
	req, err := request(method, path, header)
	if err != nil {
		r.add("%s", err)
		return r.faults
	}
	route, params, err := c.router.FindRoute(req)
	switch {
	case errors.Is(err, routers.ErrMethodNotAllowed):
		r.add("the path has no such method")
		return r.faults
	case err != nil:
		r.add("the path is unknown")
		return r.faults
	}
	// The template, not the path: it tells more and holds no interaction token.
	r.call = method + " " + route.Path
	input := &openapi3filter.RequestValidationInput{
		Request: req, PathParams: params, Route: route,
		Options: &openapi3filter.Options{
			ExcludeRequestBody: true, MultiError: true, ExcludeResponseBody: true,
			SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	}
	r.parameters(input)
	r.request(route.Operation, header, body)
	if status >= 200 && status < 300 {
		r.answer(input, status, answerHeader, answer)
	}
	return r.faults
}

var versioned = regexp.MustCompile(`^/api/v(9|10)(/.*)$`)

// request is the call as the document describes it: version 10, at discord.com,
// with nothing escaped that need not be.
func request(method, path string, header http.Header) (*http.Request, error) {
	u, err := url.Parse(path)
	if err != nil {
		return nil, fmt.Errorf("the path cannot be read: %w", err)
	}
	m := versioned.FindStringSubmatch(u.Path)
	if m == nil {
		return nil, errors.New("the path does not start with /api/v9/ or /api/v10/")
	}
	u.Scheme, u.Host, u.Path, u.RawPath = "https", "discord.com", "/api/v10"+m[2], ""
	return &http.Request{Method: method, URL: u, Host: u.Host, Header: header.Clone(), Body: http.NoBody}, nil
}

// report collects the violations of one call.
type report struct {
	call   string
	faults []string
}

func (r *report) add(format string, args ...any) {
	r.faults = append(r.faults, r.call+": "+fmt.Sprintf(format, args...))
}

// parameters checks the path and the query.
func (r *report) parameters(input *openapi3filter.RequestValidationInput) {
	named := map[string]bool{}
	for _, list := range []openapi3.Parameters{input.Route.PathItem.Parameters, input.Route.Operation.Parameters} {
		for _, p := range list {
			named[p.Value.In+" "+p.Value.Name] = true
		}
	}
	query := input.Request.URL.Query()
	for _, key := range sortedKeys(query) {
		if !named["query "+key] {
			r.add("query parameter %s is not in the document", key)
		}
	}
	err := openapi3filter.ValidateRequest(context.Background(), input)
	if err == nil {
		return
	}
	list, ok := errors.AsType[openapi3.MultiError](err)
	if !ok {
		list = openapi3.MultiError{err}
	}
	for _, err := range list {
		bad, ok := errors.AsType[*openapi3filter.RequestError](err)
		if !ok || bad.Parameter == nil {
			r.add("%s", err)
			continue
		}
		what := bad.Parameter.In + " parameter " + bad.Parameter.Name
		if schema, ok := errors.AsType[*openapi3.SchemaError](bad.Err); ok && bad.Parameter.Schema != nil {
			for _, f := range faults("", bad.Parameter.Schema.Value, schema.Value) {
				r.add("%s%s", what, f)
			}
			continue
		}
		r.add("%s: %s", what, bad.Err)
	}
}

// request checks the body of the request.
func (r *report) request(op *openapi3.Operation, header http.Header, body []byte) {
	if op.RequestBody == nil {
		if len(body) > 0 {
			r.add("the document knows no request body here")
		}
		return
	}
	if len(body) == 0 {
		if op.RequestBody.Value.Required {
			r.add("the request body is missing")
		}
		return
	}
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		r.add("the request's Content-Type %q cannot be read", header.Get("Content-Type"))
		return
	}
	switch mediaType {
	case "application/json":
	case "multipart/form-data":
		if op.RequestBody.Value.Content[mediaType] == nil {
			r.add("the request may not be %s", mediaType)
			return
		}
		if body, err = payload(body, params["boundary"]); err != nil {
			r.add("the multipart request: %s", err)
			return
		}
	default:
		r.add("the request's Content-Type %s is not one that this check reads", mediaType)
		return
	}
	schema := jsonSchema(op.RequestBody.Value.Content)
	if schema == nil {
		r.add("the request may not be JSON")
		return
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		r.add("the request body is not JSON: %s", err)
		return
	}
	for _, f := range faults("", schema, value) {
		r.add("request%s", f)
	}
	for _, f := range unnamed("", []*openapi3.Schema{schema}, value) {
		r.add("request%s", f)
	}
}

var filePart = regexp.MustCompile(`^files\[[0-9]\]$`)

// payload is the JSON of a multipart body, in which files may travel beside it.
func payload(body []byte, boundary string) ([]byte, error) {
	var found []byte
	for parts := multipart.NewReader(bytes.NewReader(body), boundary); ; {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(part)
		if err != nil {
			return nil, err
		}
		switch name := part.FormName(); {
		case name == "payload_json":
			found = content
		case !filePart.MatchString(name):
			return nil, fmt.Errorf("part %q is neither payload_json nor files[0] to files[9]", name)
		}
	}
	if found == nil {
		return nil, errors.New("it has no part payload_json")
	}
	return found, nil
}

// answer checks an answer that says the call succeeded.
func (r *report) answer(input *openapi3filter.RequestValidationInput, status int, header http.Header, body []byte) {
	described := input.Route.Operation.Responses.Status(status)
	if described == nil {
		r.add("the document knows no answer %d", status)
		return
	}
	if err := openapi3filter.ValidateResponse(context.Background(), &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: status, Header: header, Options: input.Options,
	}); err != nil {
		r.add("answer %d: %s", status, firstLine(err))
	}
	schema := jsonSchema(described.Value.Content)
	if schema == nil {
		if len(body) > 0 {
			r.add("answer %d: the document knows no body here", status)
		}
		return
	}
	if mediaType, _, err := mime.ParseMediaType(header.Get("Content-Type")); err != nil || mediaType != "application/json" {
		r.add("answer %d: the Content-Type is %q and not application/json", status, header.Get("Content-Type"))
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		r.add("answer %d: the body is not JSON: %s", status, err)
		return
	}
	for _, f := range faults("", schema, value) {
		r.add("answer %d%s", status, f)
	}
}

func jsonSchema(content openapi3.Content) *openapi3.Schema {
	media := content["application/json"]
	if media == nil || media.Schema == nil {
		return nil
	}
	return media.Schema.Value
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}
