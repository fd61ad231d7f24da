package slack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/countersign/countersign/adapters/chatkit/jsonx"
)

// TestOfficialTypes compiles every golden file against Slack's own types. It
// needs npm and its registry: COUNTERSIGN_TEST_NODE=1 switches it on. The
// packages are kept in the user's cache.
func TestOfficialTypes(t *testing.T) {
	if os.Getenv("COUNTERSIGN_TEST_NODE") != "1" {
		t.Skip("COUNTERSIGN_TEST_NODE=1 checks the golden files against @slack/types")
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	packages := filepath.Join(cache, "countersign-test", "slack-types-3.2.0-typescript-5.9.3")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	run := func(dir, name string, args ...string) (string, error) {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	tsc := filepath.Join(packages, "node_modules", "typescript", "bin", "tsc")
	types := filepath.Join(packages, "node_modules", "@slack", "types", "package.json")
	if _, err := os.Stat(tsc); err != nil || !exists(types) {
		if err := os.MkdirAll(packages, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(packages, "package.json"), []byte(`{"private":true}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := run(packages, "npm", "install", "--no-save", "--no-audit", "--no-fund", "--ignore-scripts", "@slack/types@3.2.0", "typescript@5.9.3"); err != nil {
			t.Fatalf("npm install: %v\n%s", err, out)
		}
	}

	// A project of its own, with the JSON as literals: unknown keys are found
	// in literals only.
	project := t.TempDir()
	src := filepath.Join(project, "src")
	if err := os.Mkdir(src, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(packages, "node_modules"), filepath.Join(project, "node_modules")); err != nil {
		t.Fatal(err)
	}
	write := func(name, kind string, data any) {
		raw, err := jsonx.Encode(data)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("import type { KnownBlock, View } from '@slack/types';\nexport const x: %s = %s;\n", kind, raw)
		if err := os.WriteFile(filepath.Join(src, name+".ts"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	config := `{"compilerOptions":{"strict":true,"noEmit":true,"target":"es2022","module":"nodenext","moduleResolution":"nodenext","skipLibCheck":true,"types":[]},"include":["src"]}`
	if err := os.WriteFile(filepath.Join(project, "tsconfig.json"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("testdata/golden/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".json")
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case strings.HasPrefix(name, "card-"):
			var m struct{ Blocks json.RawMessage }
			if err := json.Unmarshal(data, &m); err != nil {
				t.Fatal(err)
			}
			write(name, "KnownBlock[]", m.Blocks)
		case strings.HasPrefix(name, "form-"), strings.HasPrefix(name, "home-"):
			write(name, "View", json.RawMessage(bytes.TrimSpace(data)))
		case name == "replies":
			var all []struct{ Blocks json.RawMessage }
			if err := json.Unmarshal(data, &all); err != nil {
				t.Fatal(err)
			}
			for i, m := range all {
				write(fmt.Sprintf("reply-%d", i), "KnownBlock[]", m.Blocks)
			}
		default:
			t.Errorf("%s is of no known kind", f)
		}
	}
	if out, err := run(project, "node", tsc, "-p", "."); err != nil {
		t.Errorf("tsc: %v\n%s", err, out)
	}

	// The check itself must be able to fail.
	write("wrong", "KnownBlock[]", json.RawMessage(`[{"type":"header","text":{"type":"mrkdwn","text":"x"}},{"type":"divider","blok_id":"x"}]`))
	if out, err := run(project, "node", tsc, "-p", "."); err == nil || !strings.Contains(out, "wrong.ts") {
		t.Errorf("tsc takes a wrong file: %v\n%s", err, out)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
