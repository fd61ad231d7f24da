// Package manifest holds the Slack app manifest to Slack's own schema.
package manifest

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/dlclark/regexp2"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/countersign/countersign/adapters/slack"
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
	f, err := os.Open("testdata/manifest.schema.2.0.0.json")
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

func TestManifestSchema(t *testing.T) {
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
