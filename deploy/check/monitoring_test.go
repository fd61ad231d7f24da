package check

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	metric "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/adapters/slack/slacktest"
	"github.com/countersign/countersign/epm/epmtest"
)

var prometheusDir = filepath.Join(root, "deploy", "prometheus")

// exported is what Prometheus would keep of one scrape.
type exported struct {
	series []labels.Labels
	kind   map[string]metric.MetricType // by the metric's name, without _bucket, _sum and _count
}

// scrape runs the program with everything that it can have, lets the things
// happen that the rules are about, and reads its metrics.
func scrape(t testing.TB) exported {
	t.Helper()
	w := newWorld(t)
	w.bare = true
	siem := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusBadRequest)
	}))
	t.Cleanup(siem.Close)
	w.more = map[string]string{"COUNTERSIGN_EVENTS_WEBHOOK": siem.URL, "COUNTERSIGN_EVENTS_WEBHOOK_SECRET": "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"}
	b := composed(w)
	b.slack.Fail(slacktest.Fault{Method: "chat.postMessage", Times: 1, Kind: slacktest.Unavailable})
	b.decides()
	b.epm.Fail(epmtest.Fault{On: epmtest.Token, Times: 1, Kind: epmtest.Answer, Status: 401})
	b.epm.RevokeTokens()
	if _, err := b.slack.Person(slackPerson).Command(t.Context(), "/epm", "test-connection"); err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.base+"/webhooks/epm", strings.NewReader("{"))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req) // without a password
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Fatalf("a webhook without a password = %d, %v", res.StatusCode, err)
	}

	var families map[string]*metric.MetricFamily
	b.eventually("all that was provoked is counted", func() bool {
		_, text := b.opsGet("/metrics")
		p := expfmt.NewTextParser(model.UTF8Validation)
		if families, err = p.TextToMetricFamilies(bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(text), `method="token",platform="epm",status="401"`) && strings.Contains(string(text), `kind="reply",result="ok"`)
	})
	e := exported{kind: map[string]metric.MetricType{}}
	for name, f := range families {
		e.kind[name] = f.GetType()
		for _, m := range f.Metric {
			// The labels that Prometheus adds.
			pairs := map[string]string{"job": "countersign", "instance": "a:8080"}
			for _, l := range m.Label {
				pairs[l.GetName()] = l.GetValue()
			}
			add := func(name string, more ...string) {
				all := maps.Clone(pairs)
				all[model.MetricNameLabel] = name
				if len(more) > 0 {
					all[more[0]] = more[1]
				}
				e.series = append(e.series, labels.FromMap(all))
			}
			if f.GetType() != metric.MetricType_HISTOGRAM {
				add(name)
				continue
			}
			add(name+"_bucket", "le", "+Inf")
			add(name + "_sum")
			add(name + "_count")
		}
	}
	return e
}

// grafana is what a dashboard's variables are replaced by before a query goes
// to Prometheus.
var grafana = strings.NewReplacer("$job", "countersign", "$instance", ".+", "$__rate_interval", "4m", "$__interval", "1m")

// check parses a query and holds it against what is exported: each of its
// selectors finds something, labels that it names are there, and only
// counters are asked how they grow. It returns the labels of the result.
func (e exported) check(query string) ([]string, error) {
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(grafana.Replace(query))
	if err != nil {
		return nil, err
	}
	var wrong []error
	names := e.labels(expr, &wrong)
	return names, errors.Join(wrong...)
}

func (e exported) labels(expr parser.Expr, wrong *[]error) []string {
	add := func(format string, args ...any) { *wrong = append(*wrong, fmt.Errorf(format, args...)) }
	switch x := expr.(type) {
	case *parser.ParenExpr:
		return e.labels(x.Expr, wrong)
	case *parser.UnaryExpr:
		return e.labels(x.Expr, wrong)
	case *parser.MatrixSelector:
		return e.labels(x.VectorSelector, wrong)
	case *parser.VectorSelector:
		var names []string
		found := false
		for _, s := range e.series {
			if !slices.ContainsFunc(x.LabelMatchers, func(m *labels.Matcher) bool { return !m.Matches(s.Get(m.Name)) }) {
				found = true
				s.Range(func(l labels.Label) { names = append(names, l.Name) })
			}
		}
		if !found {
			add("nothing that is exported is %s", x)
		}
		for _, m := range x.LabelMatchers {
			if !slices.Contains(names, m.Name) {
				add("%s has no label %s", x.Name, m.Name)
			}
		}
		slices.Sort(names)
		return slices.Compact(names)
	case *parser.AggregateExpr:
		inner := e.labels(x.Expr, wrong)
		if x.Without {
			add("%s: write by", x)
		}
		for _, name := range x.Grouping {
			if !slices.Contains(inner, name) {
				add("%s: there is no label %s", x, name)
			}
		}
		return x.Grouping
	case *parser.BinaryExpr:
		left, right := e.labels(x.LHS, wrong), e.labels(x.RHS, wrong)
		if x.VectorMatching != nil && x.VectorMatching.On {
			for _, name := range x.VectorMatching.MatchingLabels {
				if !slices.Contains(left, name) || !slices.Contains(right, name) {
					add("%s: the label %s is not on both sides", x, name)
				}
			}
		}
		if left == nil {
			return right
		}
		return left
	case *parser.Call:
		var result []string
		for _, arg := range x.Args {
			if inner := e.labels(arg, wrong); inner != nil {
				result = inner
			}
			m, ok := arg.(*parser.MatrixSelector)
			if !ok {
				continue
			}
			name := m.VectorSelector.(*parser.VectorSelector).Name
			kind, known := e.kind[name]
			if !known {
				kind = e.kind[regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")]
			}
			grows := kind == metric.MetricType_COUNTER || kind == metric.MetricType_HISTOGRAM
			if want := x.Func.Name == "rate" || x.Func.Name == "increase"; want != grows {
				add("%s: %s is a %v", x, name, kind)
			}
		}
		if x.Func.Name == "histogram_quantile" {
			if !slices.Contains(result, "le") {
				add("%s: the label le is gone", x)
			}
			result = slices.DeleteFunc(slices.Clone(result), func(name string) bool { return name == "le" })
		}
		return result
	case *parser.NumberLiteral, *parser.StringLiteral:
		return nil
	}
	add("%s: this test does not know %T", expr, expr)
	return nil
}

type rule struct {
	Alert, Expr, For    string
	Labels, Annotations map[string]string
}

func rules(t testing.TB) []rule {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	if err := yaml.Unmarshal(read(t, prometheusDir, "alerts.yaml"), &file); err != nil {
		t.Fatal(err)
	}
	return file.Groups[0].Rules
}

// What the rules and the panels ask for, the running program exports.
func TestQueriesAskForWhatIsExported(t *testing.T) {
	e := scrape(t)
	used := regexp.MustCompile(`\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}`)
	shows := func(what, text string, names []string) {
		t.Helper()
		for _, m := range used.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(names, m[1]) {
				t.Errorf("%s: %q shows the label %s, which the result does not have: %v", what, text, m[1], names)
			}
		}
	}
	for _, r := range rules(t) {
		names, err := e.check(r.Expr)
		if err != nil {
			t.Errorf("%s: %v", r.Alert, err)
		}
		for _, text := range r.Annotations {
			shows(r.Alert, text, names)
		}
	}
	queries := 0
	for _, p := range panels(t) {
		for _, q := range p.Targets {
			queries++
			names, err := e.check(q.Expr)
			if err != nil {
				t.Errorf("%s: %v", p.Title, err)
			}
			shows(p.Title, q.LegendFormat, names)
		}
	}
	if queries < 20 {
		t.Errorf("the dashboard has %d queries that this test understands", queries)
	}
	var d struct {
		Annotations struct{ List []struct{ Expr string } }
		Templating  struct {
			List []struct{ Type, Definition string }
		}
	}
	if err := json.Unmarshal(read(t, root, "deploy", "grafana", "countersign.json"), &d); err != nil {
		t.Fatal(err)
	}
	for _, a := range d.Annotations.List {
		if _, err := e.check(a.Expr); err != nil {
			t.Errorf("annotation: %v", err)
		}
	}
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`).FindStringSubmatch(v.Definition)
		if m == nil {
			t.Errorf("the variable %s is none that this test understands", v.Definition)
			continue
		}
		if names, err := e.check(m[1]); err != nil || !slices.Contains(names, m[2]) {
			t.Errorf("the variable %s: %v", v.Definition, err)
		}
	}

	reference := string(read(t, root, "docs", "reference.md"))
	for name := range e.kind {
		if strings.HasPrefix(name, "countersign_") && !strings.Contains(reference, "`"+name+"`") {
			t.Errorf("docs/reference.md does not say what %s is", name)
		}
	}

	// The check itself finds what is wrong.
	for query, say := range map[string]string{
		`countersign_ticket`:                                                     "nothing that is exported is",
		`countersign_tickets{progres="pending"}`:                                 "nothing that is exported is",
		`countersign_due_tickets{lane="emp"}`:                                    "nothing that is exported is",
		`countersign_due_tickets{line!="epm"}`:                                   "has no label line",
		`sum by (platform) (countersign_tickets)`:                                "there is no label platform",
		`rate(countersign_tickets[5m])`:                                          "is a GAUGE",
		`changes(countersign_webhooks_total[5m])`:                                "is a COUNTER",
		`countersign_tickets and on (lane) countersign_due_tickets`:              "is not on both sides",
		`histogram_quantile(0.9, sum(countersign_step_duration_seconds_bucket))`: "the label le is gone",
		`sum(rate(countersign_webhooks_total{result="unauthorised"}[5m]))`:       "nothing that is exported is",
		`sum by (job (countersign_tickets)`:                                      "parse error",
	} {
		if _, err := e.check(query); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v, want %q", query, err, say)
		}
	}
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ RefID, Expr, LegendFormat string }
	Datasource  struct{ UID string }
}

func panels(t testing.TB) []panel {
	t.Helper()
	var d struct{ Panels []panel }
	if err := json.Unmarshal(read(t, root, "deploy", "grafana", "countersign.json"), &d); err != nil {
		t.Fatal(err)
	}
	return d.Panels
}

// strictly reads a dashboard and allows no field that Grafana does not know.
func strictly(text []byte) error {
	//lint:ignore SA1019 the form that every Grafana imports
	var d dashboard.Dashboard
	err := d.UnmarshalJSONStrict(text)
	var list cog.BuildErrors
	if errors.As(err, &list) && len(list) == 0 { // an error without one in it
		err = nil
	}
	return errors.Join(err, d.Validate())
}

// Grafana's own types know every field of the dashboard.
func TestDashboard(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	text := read(t, root, "deploy", "grafana", "countersign.json")
	if err := strictly(text); err != nil {
		t.Errorf("not a dashboard: %v", err)
	}
	if err := strictly(bytes.Replace(text, []byte(`"legendFormat"`), []byte(`"legendformat"`), 1)); err == nil {
		t.Error("a misspelled field is not found")
	}
	seen := map[int]bool{}
	cells := map[[2]int]string{}
	for _, p := range panels(t) {
		if seen[p.ID] {
			t.Errorf("%s: the number %d is taken", p.Title, p.ID)
		}
		seen[p.ID] = true
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				if other := cells[[2]int{x, y}]; other != "" || x > 23 {
					t.Fatalf("%s lies on %s, or beside the page", p.Title, other)
				}
				cells[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Title == "" || p.Description == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("panel %d %q has no title, description, query, or data source that can be chosen", p.ID, p.Title)
		}
	}
}

// promtool is Prometheus' own, of this machine, or nothing.
func promtool(t testing.TB, args ...string) (string, error) {
	t.Helper()
	path := os.Getenv("PROMTOOL")
	if path == "" {
		path = need(t, "promtool")
	}
	out, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput()
	return string(out), err
}

func TestAlertRules(t *testing.T) {
	if out, err := promtool(t, "check", "rules", "--lint=all", "--lint-fatal", filepath.Join(prometheusDir, "alerts.yaml")); err != nil {
		t.Errorf("check rules: %v\n%s", err, out)
	}
	if out, err := promtool(t, "test", "rules", filepath.Join(prometheusDir, "alerts_test.yaml")); err != nil {
		t.Errorf("test rules: %v\n%s", err, out)
	}
	tests := string(read(t, prometheusDir, "alerts_test.yaml"))
	runbook := string(read(t, root, "docs", "runbook.md"))
	for _, r := range rules(t) {
		if r.Labels["severity"] == "" || r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s lacks a severity, a summary or a description", r.Alert)
		}
		// The tests pass, and all of them name everything that fires.
		if !strings.Contains(tests, `alertname="`+r.Alert+`",alertstate="firing"`) {
			t.Errorf("alerts_test.yaml does not let %s fire", r.Alert)
		}
		if !strings.Contains(runbook, "| `"+r.Alert+"` | "+r.Labels["severity"]+" | ") {
			t.Errorf("docs/runbook.md does not say what %s means", r.Alert)
		}
	}
}
