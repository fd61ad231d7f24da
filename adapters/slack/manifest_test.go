package slack_test

import (
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters/slack"
	"github.com/countersign/countersign/adapters/slack/slacktest"
)

func TestManifest(t *testing.T) {
	for _, mode := range []string{slack.ModeHTTP, slack.ModeSocket} {
		t.Run(mode, func(t *testing.T) {
			text, err := slack.Manifest(mode, "https://countersign.example.com/")
			if err != nil {
				t.Fatal(err)
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
