package slack_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/dlclark/regexp2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
)

// regexp2Engine reads the schema's (?!…), which Go's own engine refuses.
type regexp2Engine regexp2.Regexp

func (e *regexp2Engine) MatchString(s string) bool {
	ok, err := (*regexp2.Regexp)(e).MatchString(s)
	return err == nil && ok
}

func (e *regexp2Engine) String() string { return (*regexp2.Regexp)(e).String() }

func manifestSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	f, err := os.Open("testdata/manifest-schema/manifest.schema.2.0.0.json")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	doc, err := jsonschema.UnmarshalJSON(f)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.UseRegexpEngine(func(s string) (jsonschema.Regexp, error) {
		re, err := regexp2.Compile(s, regexp2.ECMAScript)
		return (*regexp2Engine)(re), err
	})
	if err := c.AddResource("manifest.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("manifest.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// manifest decodes YAML the way JSON would be.
func manifest(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal(text, &v); err != nil {
		t.Fatalf("the manifest is not YAML: %v\n%s", err, text)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestManifest(t *testing.T) {
	schema := manifestSchema(t)
	for _, mode := range []string{slack.ModeHTTP, slack.ModeSocket} {
		t.Run(mode, func(t *testing.T) {
			text, err := slack.Manifest(mode, "https://countersign.example.com/")
			if err != nil {
				t.Fatal(err)
			}
			if err := schema.Validate(manifest(t, text)); err != nil {
				t.Errorf("the official schema refuses it: %v", err)
			}
			golden(t, "manifest-"+mode+".yaml", text)
			// Without a request URL the socket must be on, and the other way round.
			if http := mode == slack.ModeHTTP; strings.Count(string(text), "https://countersign.example.com/slack/") != map[bool]int{true: 3, false: 0}[http] ||
				strings.Contains(string(text), "socket_mode_enabled: true") == http {
				t.Errorf("the manifest of mode %s:\n%s", mode, text)
			}
			for _, home := range []string{"home_tab_enabled: true", "- app_home_opened\n"} {
				if !strings.Contains(string(text), home) {
					t.Errorf("nobody can open their home tab without %q", home)
				}
			}
			for _, scope := range slacktest.DefaultScopes() {
				if !strings.Contains(string(text), "- "+scope+" ") {
					t.Errorf("the scope %s is missing", scope)
				}
			}
		})
	}
	text, err := slack.Manifest(slack.ModeSocket, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, broken := range map[string][2]string{
		"LongDescription":  {"description: Approve", "description: " + strings.Repeat("a", 141)},
		"CommandNoSlash":   {"command: /epm", "command: epm"},
		"UnknownKey":       {"is_hosted:", "is_hostile:"},
		"StringForBoolean": {"is_hosted: false", `is_hosted: "false"`},
	} {
		t.Run(name, func(t *testing.T) {
			bad := strings.Replace(string(text), broken[0], broken[1], 1)
			if bad == string(text) {
				t.Fatal("nothing was broken")
			}
			if schema.Validate(manifest(t, []byte(bad))) == nil {
				t.Error("the schema takes it")
			}
		})
	}
}

func TestManifestRefuses(t *testing.T) {
	for _, tt := range []struct{ mode, url string }{
		{"http", ""}, {"http", "http://countersign.example.com"}, {"http", "countersign.example.com"},
		{"http", "https://user@countersign.example.com"}, {"http", "https://x.example.com/\"\nsettings: {}"}, {"smoke", "https://x.example.com"},
	} {
		if _, err := slack.Manifest(tt.mode, tt.url); err == nil {
			t.Errorf("Manifest(%q, %q) works", tt.mode, tt.url)
		}
	}
}
