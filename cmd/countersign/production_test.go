package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What the suite in tests/faults/ may override in its own build, the ordinary
// program does not know: it refuses the variable, and holds nothing of it.
func TestOrdinaryBinaryHasNoFaults(t *testing.T) {
	binary := build(t)
	cmd := exec.CommandContext(t.Context(), binary, "serve")
	cmd.Env = []string{`COUNTERSIGN_FAULTS={"Lease":1}`}
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "COUNTERSIGN_FAULTS: there is no such variable") {
		t.Errorf("serve with COUNTERSIGN_FAULTS = %v, %s; want it refused", err, out)
	}
	symbols, err := exec.CommandContext(t.Context(), "go", "tool", "nm", binary).Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(symbols), "main.(*wrongClock)") {
		t.Error("the ordinary program can have its clock put wrong")
	}
	root := filepath.Join("..", "..")
	for _, file := range []string{"Dockerfile", "Makefile"} {
		text, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), " -tags") {
			t.Errorf("%s builds with tags", file)
		}
	}
}

// build makes the ordinary program.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "countersign")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return binary
}
