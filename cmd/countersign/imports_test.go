package main

import (
	"bytes"
	"debug/elf"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/countersign/countersign/"

// mayImport says which of our packages each of them may import; the one with the
// longest matching name counts. What is missing here may import none.
var mayImport = map[string][]string{
	"tickets":                           {"tickets/selfcheck"},
	"tickets/selfcheck":                 {},
	"adapters":                          {"tickets", "tickets/selfcheck"},
	"adapters/adaptertest":              {"adapters", "adapters/chatkit", "adapters/wording", "tickets"},
	"adapters/discord":                  {"adapters", "adapters/chatkit", "adapters/chatkit/dedup", "adapters/chatkit/drain", "adapters/chatkit/health", "adapters/chatkit/jsonx", "adapters/chatkit/neterr", "adapters/chatkit/ratelimit", "adapters/chatkit/signed", "adapters/chatkit/ttl", "adapters/wording", "internal/network", "tickets", "tickets/selfcheck"},
	"adapters/discord/discordtest":      {},
	"adapters/discord/discordtest/spec": {},
	"adapters/sinks":                    {"adapters", "adapters/chatkit/jsonx", "adapters/chatkit/neterr", "adapters/wording", "internal/network", "tickets"},
	"adapters/sinks/sinkstest":          {},
	"adapters/slack":                    {"adapters", "adapters/chatkit", "adapters/chatkit/dedup", "adapters/chatkit/drain", "adapters/chatkit/health", "adapters/chatkit/jsonx", "adapters/chatkit/neterr", "adapters/chatkit/ratelimit", "adapters/chatkit/signed", "adapters/chatkit/ttl", "adapters/wording", "internal/network", "tickets", "tickets/selfcheck"},
	"adapters/slack/slacktest":          {},
	"store":                             {"tickets"},
	"store/storetest":                   {"store", "tickets"},
	"store/redis":                       {"store", "tickets"},
	"store/inmem":                       {"store", "tickets"},
	"store/redis/redistest":             {"internal/certtest"},
	"store/sqlite":                      {"store", "tickets"},
	"epm":                               {"internal/network", "tickets"},
	"epm/epmtest":                       {},
	"internal/certtest":                 {},
	"internal/network":                  {},
	"bot":                               {"adapters", "adapters/wording", "bot/access", "bot/audit", "bot/cards", "bot/commands", "bot/decisions", "bot/dedup", "bot/events", "bot/integrity", "bot/lease", "bot/notify", "bot/outbox", "bot/reconcile", "bot/reports", "bot/retention", "bot/settings", "bot/tracing", "bot/webhooks", "store", "tickets"},
	"bot/access":                        {"adapters", "adapters/wording", "bot/settings", "tickets", "tickets/selfcheck"},
	"bot/audit":                         {"bot/outbox", "store", "tickets"},
	"bot/cards":                         {"adapters", "bot/lease", "bot/notify", "bot/outbox", "store", "tickets"},
	"bot/commands":                      {"adapters", "adapters/wording", "bot/access", "bot/audit", "bot/dedup", "bot/outbox", "bot/reconcile", "bot/reports", "bot/settings", "bot/tracing", "bot/webhooks", "store", "tickets"},
	"bot/decisions":                     {"adapters/wording", "bot/notify", "bot/outbox", "store", "tickets"},
	"bot/dedup":                         {"adapters", "adapters/wording", "tickets"},
	"bot/events":                        {"bot/outbox", "store", "tickets"},
	"bot/integrity":                     {"bot/lease", "bot/outbox", "store", "tickets"},
	"bot/lease":                         {"store"},
	"bot/notify":                        {"adapters", "adapters/wording", "bot/outbox", "store", "tickets"},
	"bot/outbox":                        {"store", "tickets"},
	"bot/reconcile":                     {"bot/lease", "bot/tracing", "bot/webhooks", "store", "tickets"},
	"bot/reports":                       {"adapters/wording", "store", "tickets"},
	"bot/retention":                     {"bot/outbox", "store"},
	"bot/settings":                      {"adapters/wording", "store", "tickets"},
	"bot/tracing":                       {"tickets"},
	"bot/webhooks":                      {"adapters/wording", "store", "tickets"},
	"cmd/countersign":                   {"adapters", "adapters/chatkit", "adapters/chatkit/ratelimit", "adapters/chatkit/signed", "adapters/discord", "adapters/discord/discordtest", "adapters/sinks", "adapters/slack", "adapters/slack/slacktest", "adapters/wording", "bot", "bot/events", "bot/integrity", "bot/reconcile", "bot/reports", "bot/retention", "bot/settings", "bot/tracing", "bot/webhooks", "epm", "epm/epmtest", "internal/network", "store", "store/redis", "store/sqlite", "tickets"},
	"adapters/chatkit":                  {"adapters", "adapters/chatkit/drain", "adapters/wording", "tickets"},
	"adapters/wording":                  {"adapters", "tickets", "tickets/selfcheck"},
	"adapters/chatkit/dedup":            {},
	"adapters/chatkit/drain":            {},
	"adapters/chatkit/health":           {},
	"adapters/chatkit/jsonx":            {},
	"adapters/chatkit/neterr":           {"internal/network"},
	"adapters/chatkit/ratelimit":        {"adapters/chatkit", "tickets"},
	"adapters/chatkit/signed":           {},
	"adapters/chatkit/ttl":              {},
}

// suites may import testing outside of tests: they are tests for others.
var suites = map[string]bool{"adapters/adaptertest": true, "store/storetest": true}

// entryPointOnly are libraries that cmd/countersign alone may import: other packages
// tell it what happens, through interfaces of their own.
var entryPointOnly = []string{"go.opentelemetry.io/", "github.com/prometheus/", "github.com/go-analyze/"}

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, args...)...)
	cmd.Dir = filepath.Join("..", "..")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImportsReachTheRightWay(t *testing.T) {
	packages := list(t, "./...")
	if len(packages) < len(mayImport) {
		t.Errorf("%d packages, want the %d listed at least", len(packages), len(mayImport))
	}
	for _, p := range packages {
		pkg := strings.TrimPrefix(p.ImportPath, module)
		allowed, known := mayImport[pkg]
		if !known {
			t.Errorf("%s is a package that mayImport does not list", pkg)
		}
		inTickets := pkg == "tickets" || strings.HasPrefix(pkg, "tickets/")
		for _, i := range p.Imports {
			ours, isOurs := strings.CutPrefix(i, module)
			ok := !isOurs
			for _, a := range allowed {
				ok = ok || ours == a
			}
			switch {
			case !ok:
				t.Errorf("%s must not import %s", pkg, ours)
			case pkg != "cmd/countersign" && slices.ContainsFunc(entryPointOnly, func(l string) bool { return strings.HasPrefix(i, l) }):
				t.Errorf("%s imports %s, which only cmd/countersign may", pkg, i)
			case i == "testing" && !suites[pkg]:
				t.Errorf("%s imports testing outside of its tests", pkg)
			case inTickets && !isOurs && strings.Contains(i, "."):
				t.Errorf("%s imports %s: only the standard library is allowed", pkg, i)
			case inTickets && (i == "os" || i == "net" || i == "net/http" || i == "log/slog" || i == "context"):
				t.Errorf("%s imports %s: it does no I/O", pkg, i)
			}
		}
	}
}

// TestArchitecturePicture: the picture in docs/architecture.md has the imports
// of the packages that ship. An import that others imply is not drawn.
func TestArchitecturePicture(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "architecture.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, picture, _ := strings.Cut(string(page), "```mermaid\n")
	picture, _, _ = strings.Cut(picture, "```")
	drawn := map[string]bool{}
	for line := range strings.Lines(picture) {
		if line = strings.TrimSpace(line); strings.Contains(line, "-->") {
			drawn[line] = true
		}
	}
	for _, line := range arrows(list(t, "./...")) {
		if !drawn[line] {
			t.Errorf("docs/architecture.md: add to the picture the line\n    %s", line)
		}
		delete(drawn, line)
	}
	for line := range drawn {
		t.Errorf("docs/architecture.md: remove from the picture the line\n    %s", line)
	}

	got := arrows([]listed{
		{ImportPath: module + "a", Imports: []string{module + "b", module + "c", module + "d/dtest", "fmt"}},
		{ImportPath: module + "b", Imports: []string{module + "c"}},
		{ImportPath: module + "c"},
		{ImportPath: module + "d/dtest", Imports: []string{module + "c"}},
	})
	if want := []string{"a --> b", "b --> c"}; !slices.Equal(got, want) {
		t.Errorf("arrows = %q, want %q", got, want)
	}
}

// arrows are the imports among our packages, without those that others imply
// and without fakes and suites.
func arrows(packages []listed) []string {
	imports := map[string][]string{}
	for _, p := range packages {
		pkg := strings.TrimPrefix(p.ImportPath, module)
		for _, i := range p.Imports {
			if ours, ok := strings.CutPrefix(i, module); ok && !forTests.MatchString(pkg) && !forTests.MatchString(ours) {
				imports[pkg] = append(imports[pkg], ours)
			}
		}
	}
	var reaches func(from, to string) bool
	reaches = func(from, to string) bool {
		return slices.ContainsFunc(imports[from], func(i string) bool { return i == to || reaches(i, to) })
	}
	var lines []string
	for pkg, to := range imports {
		for _, i := range to {
			if !slices.ContainsFunc(to, func(other string) bool { return other != i && reaches(other, i) }) {
				lines = append(lines, pkg+" --> "+i)
			}
		}
	}
	slices.Sort(lines)
	return lines
}

var forTests = regexp.MustCompile(`test(/|$)`)

func TestBinaryDoesNotLinkTesting(t *testing.T) {
	for _, d := range list(t, "./cmd/countersign")[0].Deps {
		if d == "testing" {
			t.Error("the binary links testing")
		}
	}
}

// The container cannot be built everywhere, so its parts are checked: what
// it copies exists, it does not run as root, and its build command makes a
// binary that needs no other file.
func TestDockerfile(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	docker := string(text)
	for _, want := range []string{"FROM scratch", "USER 65532:65532", `ENTRYPOINT ["/countersign"]`, "ca-certificates.crt"} {
		if !strings.Contains(docker, want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^COPY ([^-].*) \S+$`).FindAllStringSubmatch(docker, -1) {
		for f := range strings.FieldsSeq(m[1]) {
			if _, err := os.Stat(filepath.Join(root, f)); err != nil {
				t.Errorf("COPY: %v", err)
			}
		}
	}
	mod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (1\.\d+)`).FindSubmatch(mod)
	if version == nil || !regexp.MustCompile(`golang:`+regexp.QuoteMeta(string(version[1]))+`\.\d+-`).MatchString(docker) {
		t.Errorf("the Dockerfile does not build with the Go of go.mod, %s", version[1])
	}
	line := regexp.MustCompile(`(?m)^RUN CGO_ENABLED=0 (?:GO\w+=\S+ )*go build (.*?) -o \S+ (\S+) *\\?$`).FindStringSubmatch(docker)
	if line == nil {
		t.Fatal("the Dockerfile has no build line that this test understands")
	}
	if runtime.GOOS != "linux" {
		t.Skip("the binary is checked on Linux")
	}
	binary := filepath.Join(t.TempDir(), "countersign")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", binary, line[2])
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	f, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the binary is not static: it has a %s segment", p.Type)
		}
	}
	if info, err := os.Stat(binary); err != nil || info.Size() > 40<<20 {
		t.Errorf("the binary has %d bytes, want less than 40 MiB", info.Size())
	}
}
