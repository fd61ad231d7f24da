package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestNoticesAreComplete: archives and image ship the licences of all that is
// linked, and of nothing that is not any more.
func TestNoticesAreComplete(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "run", "./.ci/notices")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Stderr = os.Stderr
	want, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join("..", "..", "THIRD_PARTY_NOTICES.txt"))
	if err != nil || string(got) != string(want) {
		t.Errorf("THIRD_PARTY_NOTICES.txt is not what is linked: run make notices (%v)", err)
	}
	for _, holds := range []string{"go.dev, LICENSE", "modernc.org/sqlite v", "github.com/slack-go/slack v", "Apache License"} {
		if !strings.Contains(string(want), holds) {
			t.Errorf("the notices do not hold %q", holds)
		}
	}
	for file, says := range map[string]string{".goreleaser.yaml": "src: THIRD_PARTY_NOTICES.txt", "Dockerfile": "/src/THIRD_PARTY_NOTICES.txt"} {
		b, err := os.ReadFile(filepath.Join("..", "..", file))
		if err != nil || !strings.Contains(string(b), says) {
			t.Errorf("%s does not ship them: %v", file, err)
		}
	}
}

// TestVulnSaysWhenItDidNotLook: without the database nothing was checked: a
// change may go on, a release must not.
func TestVulnSaysWhenItDidNotLook(t *testing.T) {
	for required, fails := range map[string]bool{"": false, "1": true} {
		cmd := exec.CommandContext(t.Context(), "sh", ".ci/vuln")
		cmd.Dir = filepath.Join("..", "..")
		cmd.Env = append(os.Environ(), "GOPROXY=off", "VULNDB=golang.org/x/vulndb@v0.0.0-20000101000000-000000000000", "VULN_REQUIRED="+required)
		out, err := cmd.CombinedOutput()
		if (err != nil) != fails || !strings.Contains(string(out), "NOT CHECKED") {
			t.Errorf("required %q: %v\n%s", required, err, out)
		}
	}
	b, err := os.ReadFile(filepath.Join("..", "..", ".goreleaser.yaml"))
	if err != nil || !strings.Contains(string(b), "VULN_REQUIRED=1 sh .ci/vuln") {
		t.Errorf("a release does not require it: %v", err)
	}
}
