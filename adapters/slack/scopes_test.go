package slack

import (
	"slices"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestManifestAsksForTheScopes compares the manifest with the scopes that
// Check looks for.
func TestManifestAsksForTheScopes(t *testing.T) {
	text, err := Manifest(ModeSocket, "")
	if err != nil {
		t.Fatal(err)
	}
	var m struct {
		OAuth struct {
			Scopes struct {
				Bot      []string `yaml:"bot"`
				Optional []string `yaml:"bot_optional"`
			} `yaml:"scopes"`
		} `yaml:"oauth_config"`
	}
	if err := yaml.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	asked := m.OAuth.Scopes
	// What the manifest asks for beyond our needs: for metadata of other apps,
	// and for posting uninvited.
	known := []string{"metadata.message:read", "chat:write.public"}
	for _, s := range scopes {
		if !slices.Contains(asked.Bot, s.name) {
			t.Errorf("the manifest does not ask for %s", s.name)
		}
		if got := slices.Contains(asked.Optional, s.name); got != s.inPlaces {
			t.Errorf("%s: optional in the manifest = %v, want %v", s.name, got, s.inPlaces)
		}
		known = append(known, s.name)
	}
	for _, name := range asked.Bot {
		if !slices.Contains(known, name) {
			t.Errorf("the manifest asks for %s, which nothing needs", name)
		}
	}
}
