package check

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

// testVersion is the version of what is built here.
const testVersion = "v0.0.0-check"

// releaseConfig is .goreleaser.yaml, read by GoReleaser: a field that it does
// not know is an error.
func releaseConfig(t testing.TB) config.Project {
	t.Helper()
	p, err := config.Load(filepath.Join(root, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRelease(t *testing.T) {
	p := releaseConfig(t)
	if len(p.Builds) != 1 || len(p.Archives) != 1 {
		t.Fatalf("%d builds and %d archives, want one of each", len(p.Builds), len(p.Archives))
	}
	b := p.Builds[0]
	if !slices.Contains(b.Env, "CGO_ENABLED=0") || !slices.Contains(b.Flags, "-trimpath") || b.ModTimestamp == "" {
		t.Errorf("the build is not static and reproducible: env %v, flags %v, modification time %q", b.Env, b.Flags, b.ModTimestamp)
	}
	if p.Checksum.Disable || p.Checksum.Algorithm != "sha256" {
		t.Error("there are no SHA-256 checksums")
	}
	if len(p.SBOMs) != 1 || p.SBOMs[0].Artifacts != "archive" {
		t.Error("there is no SBOM for each archive")
	}
	for _, f := range p.Archives[0].Files {
		if found, err := filepath.Glob(filepath.Join(root, f.Source)); err != nil || len(found) == 0 {
			t.Errorf("an archive is to have %s, which does not exist", f.Source)
		}
		if f.Info.MTime == "" || f.Info.Owner == "" {
			t.Errorf("%s has the time and the owner of whoever builds", f.Source)
		}
	}
	path := filepath.Join(t.TempDir(), "bad.yaml")
	write(t, path, []byte("version: 2\nbuild: []\n"))
	if _, err := config.Load(path); err == nil {
		t.Error("a misspelled field is not found")
	}
}

// The release and the Dockerfile make the same program, byte by byte, in two
// folders and with two build caches.
func TestTwoBuildsGiveTheSameBytes(t *testing.T) {
	first := theImage(t).binary
	copied := filepath.Join(t.TempDir(), "elsewhere")
	copySources(t, copied)
	second := filepath.Join(copied, "countersign")
	b := releaseConfig(t).Builds[0]
	args := append([]string{"build", "-o", second}, b.Flags...)
	args = append(args, "-ldflags", strings.ReplaceAll(strings.Join(b.Ldflags, " "), "{{ .Tag }}", testVersion), b.Main)
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = copied
	cmd.Env = append(os.Environ(), b.Env...)
	cmd.Env = append(cmd.Env, "GOCACHE="+filepath.Join(t.TempDir(), "cache"), "GOOS="+runtime.GOOS, "GOARCH="+runtime.GOARCH)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %v: %v\n%s", args, err, out)
	}
	sums := map[string]string{}
	for _, path := range []string{first, second} {
		sums[path] = fmt.Sprintf("%x", sha256.Sum256(read(t, path)))
		t.Logf("%s  %s", sums[path], path)
	}
	if sums[first] != sums[second] {
		t.Error("the two are not the same")
	}
	out, err := exec.CommandContext(t.Context(), second, "version").Output()
	if err != nil || !strings.Contains(string(out), testVersion) {
		t.Errorf("version = %s, %v, want %s", out, err, testVersion)
	}
}

// copySources copies what is, or would be, in the repository.
func copySources(t testing.TB, to string) {
	t.Helper()
	need(t, "git")
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.SplitSeq(strings.TrimRight(string(out), "\x00"), "\x00") {
		b, err := os.ReadFile(filepath.Join(root, name))
		if os.IsNotExist(err) { // deleted, and not yet committed
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		target := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, target, b)
	}
}
