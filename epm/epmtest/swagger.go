package epmtest

import (
	"net/http"
	"strings"
)

// swagger answers the API description, as far as the just-in-time part goes.
// Where a tenant keeps it is not documented; this is where ASP.NET puts it.
// It needs no token.
func (s *Server) swagger(r *http.Request) (answer, bool) {
	if s.cfg.NoSwagger || r.Method != http.MethodGet {
		return answer{}, false
	}
	s.mu.Lock()
	own, ok := s.swaggers[r.URL.Path]
	locked := s.swaggerLocked
	s.mu.Unlock()
	if locked && !s.authorized(r) {
		return unauthorized(), true
	}
	if ok {
		return answer{status: http.StatusOK, contentType: "application/json", body: []byte(own)}, true
	}
	switch normalized := strings.ToLower(r.URL.Path); normalized {
	case apiRoot + "swagger/index.html":
		return answer{status: http.StatusOK, contentType: "text/html; charset=utf-8", body: []byte(
			`<!DOCTYPE html><html><head><title>Swagger UI</title></head><body><div id="swagger-ui"></div>` +
				`<script>SwaggerUIBundle({"urls":[{"url":"v3/swagger.json","name":"v3"},{"url":"v2/swagger.json","name":"v2"}]})</script></body></html>`)}, true
	case apiRoot + "swagger/v3/swagger.json", apiRoot + "swagger/v2/swagger.json":
		version := strings.Split(normalized, "/")[3]
		return jsonAnswer(http.StatusOK, s.description(version)), true
	}
	return answer{}, false
}

// Describe serves body as the API description at path, instead of what is
// served there otherwise.
func (s *Server) Describe(path, body string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swaggers[path] = body
}

// LockDescription serves the API description only with a token.
func (s *Server) LockDescription() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.swaggerLocked = true
}

type object = map[string]any

func (s *Server) description(version string) object {
	text := func(names ...string) object {
		properties := object{}
		for _, n := range names {
			properties[n] = object{"type": "string", "nullable": true}
		}
		return properties
	}
	post := func(tag, summary string, properties object) object {
		return object{"tags": []string{tag}, "summary": summary,
			"requestBody": object{"content": object{"application/json": object{
				"schema": object{"type": "object", "properties": properties}}}},
			"responses": object{"200": object{"description": "Success"}}}
	}
	get := func(tag, summary string) object {
		return object{"tags": []string{tag}, "summary": summary, "responses": object{"200": object{"description": "Success"}}}
	}
	// The server's address ends with /management-api, so the paths begin after it.
	path := func(p string) string {
		p = "/" + strings.TrimPrefix(p, apiRoot)
		for _, v := range []string{"/v2/", "/v3/"} {
			if rest, ok := strings.CutPrefix(p, v); ok {
				return "/" + version + "/" + rest
			}
		}
		return p
	}
	app, admin := "AuthorizationRequest", "AdminAccessRequest"
	decision := text("decision", "duration", "decisionPerformedByUser", "message", "systemId", "ticketId", "ticketUrl")
	decision["requestId"] = object{"type": "string", "format": "uuid"}
	paths := object{}
	paths["/"+version+"/"+app] = object{"get": get(app, "Retrieve list of Authorization Requests")}
	paths["/"+version+"/"+app+"/{id}"] = object{"get": get(app, "Retrieve a single Authorization Request")}
	paths["/"+version+"/"+admin] = object{
		"get": get(admin, "Retrieve list of Admin Access Requests"),
		"post": post(admin, "Creates an Admin Access Request",
			text("computerId", "duration", "userId", "userName", "reason", "decision", "decisionTime", "decisionPerformedByUser")),
	}
	paths["/"+version+"/"+admin+"/{id}"] = object{"get": get(admin, "Retrieve a single Admin Access Request")}
	paths[path(s.cfg.AppDecisionPath)] = object{"post": post(app, "Handle URM ticket notifications", text("status", "decision",
		"decisionPerformedByUser", "duration", "itsmRequestId", "decisionTime", "message", "systemId", "ticketId", "ticketUrl"))}
	paths[path(s.cfg.AdminDecisionPath)] = object{"post": post(admin,
		"Updates an Admin Access Request decision which can be approved or denied", decision)}
	return object{
		"openapi": "3.0.1",
		"info":    object{"title": "Management API", "version": version},
		"servers": []object{{"url": s.url + strings.TrimSuffix(apiRoot, "/")}},
		"paths":   paths,
	}
}
