package epm

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Advice is something about the connection that an admin should know. What is
// fine has no Problem.
type Advice struct {
	What, Problem, Fix string
}

// Where a tenant serves the description of its API, newest version first, and
// the page that names more of them: where ASP.NET puts them.
const (
	descriptionIndex = "/management-api/swagger/index.html"
	apiPrefix        = "/management-api"

	maxDescription  = 16 << 20 // bytes
	maxDescriptions = 8        // documents that are read
)

var (
	descriptionPaths = []string{"/management-api/swagger/v3/swagger.json", "/management-api/swagger/v2/swagger.json", "/management-api/swagger/v1/swagger.json"}
	jsonAddress      = regexp.MustCompile(`["']([^"'\\<>\s]{1,200}\.json)`)
)

// operation is a POST that a description has.
type operation struct {
	path       string // below the host
	summary    string
	properties []string // of its body, nil if that is not described
	required   []string
}

// CompareDescription compares the decision paths and the names that we send
// with the tenant's own description of its API. It changes nothing. served is
// false if the tenant serves none that can be read, which is no fault.
func (c *Client) CompareDescription(ctx context.Context) (advice []Advice, served bool) {
	ctx, cancel := context.WithTimeout(ctx, testTimeout)
	defer cancel()
	addresses := slices.Clone(descriptionPaths)
	index, _ := c.fetch(ctx, descriptionIndex)
	base := c.base.JoinPath(descriptionIndex)
	for _, m := range jsonAddress.FindAllSubmatch(index, 50) {
		// Elsewhere the token would go astray.
		if u, err := base.Parse(string(m[1])); err == nil && u.Host == c.base.Host && u.Scheme == c.base.Scheme && strings.HasPrefix(u.Path, apiPrefix+"/") && !slices.Contains(addresses, u.Path) {
			addresses = append(addresses, u.Path)
		}
	}
	var all []operation
	for _, a := range addresses[:min(len(addresses), maxDescriptions)] {
		if body, ok := c.fetch(ctx, a); ok {
			all = append(all, operations(body)...)
		}
	}
	if len(all) == 0 {
		return nil, false
	}
	return []Advice{
		comparePath(all, "application requests", "authorizationrequest", c.config.AppDecisionPath, "COUNTERSIGN_EPM_APP_DECISION_PATH", appNames),
		comparePath(all, "admin requests", "adminaccessrequest", c.config.AdminDecisionPath, "COUNTERSIGN_EPM_ADMIN_DECISION_PATH", adminNames),
	}, true
}

// fetch reads a page of the description, without a token and if that is not
// enough with one.
func (c *Client) fetch(ctx context.Context, p string) ([]byte, bool) {
	for _, signed := range []bool{false, true} {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base.JoinPath(p).String(), nil)
		if err != nil {
			return nil, false
		}
		req.Header.Set("User-Agent", userAgent)
		if signed {
			token, err := c.tokens.get(ctx)
			if err != nil {
				return nil, false
			}
			token.SetAuthHeader(req)
		}
		res, err := c.http.Do(req)
		if err != nil {
			return nil, false
		}
		body, err := io.ReadAll(io.LimitReader(res.Body, maxDescription))
		_ = res.Body.Close()
		if err == nil && res.StatusCode == http.StatusOK {
			return body, true
		}
		if res.StatusCode != http.StatusUnauthorized && res.StatusCode != http.StatusForbidden {
			return nil, false
		}
	}
	return nil, false
}

// document is a description, as far as it is needed: OpenAPI 3, or Swagger 2.
type document struct {
	BasePath string `json:"basePath"`
	Servers  []struct {
		URL string `json:"url"`
	} `json:"servers"`
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
	Definitions map[string]schema `json:"definitions"`
}

type schema struct {
	Ref        string                     `json:"$ref"`
	AllOf      []schema                   `json:"allOf"`
	Properties map[string]json.RawMessage `json:"properties"`
	Required   []string                   `json:"required"`
}

// operations are the POSTs of a description; none if it is not readable.
func operations(body []byte) []operation {
	var doc document
	if json.Unmarshal(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")), &doc) != nil {
		return nil
	}
	prefix := doc.BasePath
	if len(doc.Servers) > 0 {
		if u, err := url.Parse(strings.NewReplacer("{", "", "}", "").Replace(doc.Servers[0].URL)); err == nil {
			prefix = u.Path
		}
	}
	prefix = strings.TrimRight(prefix, "/")
	var all []operation
	for p, methods := range doc.Paths {
		for method, raw := range methods {
			if !strings.EqualFold(method, http.MethodPost) {
				continue
			}
			var op struct {
				Summary     string `json:"summary"`
				Description string `json:"description"`
				RequestBody struct {
					Content map[string]struct {
						Schema schema `json:"schema"`
					} `json:"content"`
				} `json:"requestBody"`
				Parameters []struct {
					In     string `json:"in"`
					Schema schema `json:"schema"`
				} `json:"parameters"`
			}
			if json.Unmarshal(raw, &op) != nil {
				continue
			}
			o := operation{path: p, summary: op.Summary + " " + op.Description}
			if !strings.HasPrefix(strings.ToLower(p), apiPrefix+"/") {
				o.path = cmp.Or(prefix, apiPrefix) + p
			}
			for kind, content := range op.RequestBody.Content {
				if strings.Contains(kind, "json") && o.properties == nil {
					doc.names(content.Schema, &o, 0)
				}
			}
			for _, q := range op.Parameters {
				if q.In == "body" {
					doc.names(q.Schema, &o, 0)
				}
			}
			all = append(all, o)
		}
	}
	slices.SortFunc(all, func(a, b operation) int { return strings.Compare(a.path, b.path) })
	return all
}

// names adds the properties of s to o.
func (d *document) names(s schema, o *operation, depth int) {
	if depth > 8 {
		return
	}
	if s.Ref != "" {
		name := s.Ref[strings.LastIndexByte(s.Ref, '/')+1:]
		if other, ok := d.Components.Schemas[name]; ok {
			d.names(other, o, depth+1)
		} else if other, ok := d.Definitions[name]; ok {
			d.names(other, o, depth+1)
		}
	}
	for _, part := range s.AllOf {
		d.names(part, o, depth+1)
	}
	for n := range s.Properties {
		o.properties = append(o.properties, n)
	}
	o.required = append(o.required, s.Required...)
	slices.Sort(o.properties)
}

func has(names []string, name string) bool {
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// decides reports whether o looks like the decision on requests of resource.
func (o operation) decides(resource string) bool {
	p := strings.ToLower(o.path)
	return strings.Contains(p, "/"+resource+"/") && !creates(&url.URL{Path: o.path}) && (strings.Contains(strings.ToLower(o.summary), "decision") || has(o.properties, "decision"))
}

// comparePath compares one of our paths, and the names sent there, with what
// is described.
func comparePath(all []operation, kind, resource, ours, variable string, sent decisionNames) Advice {
	a := Advice{What: "EPM's own API description: the decision on " + kind}
	var found []operation
	for _, o := range all {
		if strings.EqualFold(o.path, ours) {
			if problem := sent.lack(o); problem != "" {
				a.Problem = problem
				a.Fix = "The path " + ours + " is right. Try a request of this kind on a test computer; if EPM does not take the decision, report these names: Countersign has to learn them."
			} else {
				a.What += ", " + ours + ", is there with the names that are sent"
			}
			return a
		}
		if o.decides(resource) && !slices.ContainsFunc(found, func(f operation) bool { return f.path == o.path }) {
			found = append(found, o)
		}
	}
	// The version that is set, else the newest.
	version := func(p string) string {
		return strings.ToLower(strings.SplitN(strings.TrimPrefix(p, apiPrefix+"/"), "/", 2)[0])
	}
	slices.SortStableFunc(found, func(x, y operation) int {
		if xs, ys := version(x.path) == version(ours), version(y.path) == version(ours); xs != ys {
			if xs {
				return -1
			}
			return 1
		}
		return strings.Compare(version(y.path), version(x.path))
	})
	a.Problem = "there is no POST " + ours
	for _, o := range found {
		if checkDecisionPath(o.path) == nil {
			a.Fix = "Set " + variable + "=" + o.path + " and start the bot anew: that is what EPM describes."
			if problem := sent.lack(o); problem != "" {
				a.Fix += " There, " + problem + ": try a request of this kind on a test computer, and report these names if EPM does not take the decision."
			}
			return a
		}
	}
	a.Fix = "Look for the call that takes the decision at " + descriptionIndex + " of EPM's host, and set " + variable + " to its path."
	if len(found) > 0 {
		a.Fix = "EPM describes " + clean(found[0].path) + ", a kind of path that Countersign does not speak: report it."
	}
	return a
}

// clean is a name of the description for people.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r <= ' ' || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), 120)]
}

// decisionNames are the names of a decision's body.
type decisionNames struct {
	sent     []string
	oneOf    []string // of these one is enough
	optional []string // sent in case they are known
}

// lack says which names o does not know, or wants and does not get.
func (d decisionNames) lack(o operation) string {
	if o.properties == nil {
		return ""
	}
	var unknown, wanted []string
	for _, n := range d.sent {
		if !has(o.properties, n) {
			unknown = append(unknown, n)
		}
	}
	if len(d.oneOf) > 0 && !slices.ContainsFunc(d.oneOf, func(n string) bool { return has(o.properties, n) }) {
		unknown = append(unknown, strings.Join(d.oneOf, " or "))
	}
	for _, n := range o.required {
		if !has(d.sent, n) && !has(d.oneOf, n) && !has(d.optional, n) {
			wanted = append(wanted, clean(n))
		}
	}
	var s []string
	if len(unknown) > 0 {
		names := make([]string, len(o.properties))
		for i, n := range o.properties {
			names[i] = clean(n)
		}
		s = append(s, "the names "+strings.Join(unknown, ", ")+" are sent and not described (described are "+strings.Join(names[:min(len(names), 30)], ", ")+")")
	}
	if len(wanted) > 0 {
		s = append(s, "EPM requires "+strings.Join(wanted, ", ")+", which is not sent")
	}
	return strings.Join(s, "; and ")
}
