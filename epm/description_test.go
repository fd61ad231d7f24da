package epm

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/epm/epmtest"
	"github.com/countersign/countersign/tickets"
)

const (
	swaggerV3 = "/management-api/swagger/v3/swagger.json"
	swaggerV2 = "/management-api/swagger/v2/swagger.json"
)

// described is an OpenAPI document with POSTs that have the given names.
func described(server string, posts map[string][]string) string {
	paths := map[string]any{}
	for p, names := range posts {
		properties := map[string]any{}
		for _, n := range names {
			properties[n] = map[string]any{"type": "string"}
		}
		paths[p] = map[string]any{"post": map[string]any{"summary": "Handle it",
			"requestBody": map[string]any{"content": map[string]any{"application/json": map[string]any{"schema": map[string]any{"properties": properties}}}}}}
	}
	b, _ := json.Marshal(map[string]any{"openapi": "3.0.1", "servers": []any{map[string]any{"url": server}}, "paths": paths})
	return string(b)
}

func TestCompareDescription(t *testing.T) {
	app := appNames.sent
	admin := append([]string{"requestId"}, adminNames.sent...)
	const appPath, adminPath = "/v2/AuthorizationRequest/notification", "/v2/AdminAccessRequest/approval"
	for name, c := range map[string]struct {
		fake   func(*epmtest.Config)
		world  func(*epmtest.Server)
		served bool
		want   []string // words of what is wrong; none: all is well
		not    string
	}{
		"AsIs":   {served: true},
		"None":   {fake: func(c *epmtest.Config) { c.NoSwagger = true }},
		"Locked": {world: func(s *epmtest.Server) { s.LockDescription() }, served: true},
		"OtherPath": {fake: func(c *epmtest.Config) { c.AdminDecisionPath = "/management-api/v2/AdminAccessRequest/decision" }, served: true,
			want: []string{"the decision on admin requests", "there is no POST /management-api/v2/AdminAccessRequest/approval", "Set COUNTERSIGN_EPM_ADMIN_DECISION_PATH=/management-api/v2/AdminAccessRequest/decision and"}},
		"OtherAppPath": {fake: func(c *epmtest.Config) { c.AppDecisionPath = "/management-api/v2/AuthorizationRequest/decide" }, served: true,
			want: []string{"the decision on application requests", "Set COUNTERSIGN_EPM_APP_DECISION_PATH=/management-api/v2/AuthorizationRequest/decide and"}},
		"OnlyCreates": {world: func(s *epmtest.Server) {
			doc := described("/management-api", map[string][]string{appPath: app, "/v2/AdminAccessRequest": admin, "/v2/AdminAccessRequest/": admin})
			s.Describe(swaggerV3, doc)
			s.Describe(swaggerV2, doc)
		}, served: true, want: []string{"admin requests", "there is no POST", "Look for the call"}, not: "DECISION_PATH=/"},
		"WithID": {world: func(s *epmtest.Server) {
			doc := described("/management-api", map[string][]string{appPath: app, "/v2/AdminAccessRequest/{id}/decision": admin})
			s.Describe(swaggerV3, doc)
			s.Describe(swaggerV2, doc)
		}, served: true, want: []string{"admin requests", "/v2/AdminAccessRequest/{id}/decision", "report it"}},
		"OtherNames": {world: func(s *epmtest.Server) {
			doc := described("https://{example.com}/management-api", map[string][]string{appPath: app, adminPath: {"adminRequestId", "decision", "duration", "decisionPerformedByUser", "comment", "systemId", "ticketId", "ticketUrl"}})
			s.Describe(swaggerV3, doc)
			s.Describe(swaggerV2, doc)
		}, served: true, want: []string{"admin requests", "the names message, requestId or id are sent and not described", "adminRequestId, comment", "test computer"}},
		"Required": {world: func(s *epmtest.Server) {
			doc := `{"swagger":"2.0","basePath":"/management-api","definitions":{"A":{"allOf":[{"$ref":"#/definitions/B"}],"required":["Decision","tenant"]},"B":{"properties":{"` + strings.Join(admin, `":{},"`) + `":{}}}},
				"paths":{"` + appPath + `":{"post":{}},"` + adminPath + `":{"post":{"parameters":[{"in":"body","schema":{"$ref":"#/definitions/A"}}]}}}}`
			s.Describe(swaggerV3, doc)
			s.Describe(swaggerV2, doc)
		}, served: true, want: []string{"admin requests", "EPM requires tenant, which is not sent"}},
		"FromTheIndex": {fake: func(c *epmtest.Config) { c.AdminDecisionPath = "/management-api/v2/AdminAccessRequest/decision" }, world: func(s *epmtest.Server) {
			s.Describe(swaggerV3, "{")
			s.Describe(swaggerV2, "<html>")
			s.Describe(descriptionIndex, `<script>x({"urls":[{"url":"https://evil.example/a.json"},{"url":"jit/all.json"}]})</script>`)
			s.Describe("/management-api/swagger/jit/all.json", described("", map[string][]string{"/management-api" + appPath: app, "/management-api/v3/AdminAccessRequest/decide": admin, "/management-api/v2/AdminAccessRequest/judge": admin}))
		}, served: true, want: []string{"Set COUNTERSIGN_EPM_ADMIN_DECISION_PATH=/management-api/v2/AdminAccessRequest/judge and"}},
		"Recursive": {world: func(s *epmtest.Server) {
			doc := `{"components":{"schemas":{"A":{"$ref":"#/components/schemas/A","allOf":[{"$ref":"#/components/schemas/A"}]}}},"paths":{"` + appPath + `":{"post":{"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/A"}}}}}},"` + adminPath + `":{"post":{}}}}`
			s.Describe(swaggerV3, doc)
			s.Describe(swaggerV2, doc)
		}, served: true},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, c.fake, nil)
			if c.world != nil {
				c.world(b.fake)
			}
			advice, served := b.CompareDescription(t.Context())
			if served != c.served || served != (len(advice) == 2) {
				t.Fatalf("served %t, %+v", served, advice)
			}
			var wrong []string
			for _, a := range advice {
				if (a.Problem == "") != (a.Fix == "") {
					t.Errorf("half an advice: %+v", a)
				}
				if a.Problem != "" {
					wrong = append(wrong, a.What+": "+a.Problem+" → "+a.Fix)
				}
			}
			text := strings.Join(wrong, "\n")
			b.quiet(t, text)
			if len(wrong) > 1 || (len(wrong) == 0) != (c.want == nil) || c.not != "" && strings.Contains(text, c.not) {
				t.Errorf("wrong: %s", text)
			}
			for _, w := range c.want {
				if !strings.Contains(text, w) {
					t.Errorf("no %q in %s", w, text)
				}
			}
			if n := b.fake.Count(epmtest.Decide); n != 0 {
				t.Errorf("%d decisions", n)
			}
		})
	}
}

// TestDecisionNames: what is compared is what is sent.
func TestDecisionNames(t *testing.T) {
	b := newBench(t, nil, nil)
	tk := b.ticket(tickets.Application, tickets.Approve, tickets.Once())
	for _, c := range []struct {
		body  map[string]string
		names decisionNames
	}{{b.appDecision(tk), appNames}, {b.adminDecision(tk), adminNames}} {
		sent := slices.Sorted(maps.Keys(c.body))
		want := slices.Sorted(slices.Values(slices.Concat(c.names.sent, c.names.oneOf, c.names.optional)))
		if !slices.Equal(sent, want) {
			t.Errorf("sent are %q, compared %q", sent, want)
		}
	}
}
