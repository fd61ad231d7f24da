package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/countersign/countersign/adapters"
	"github.com/countersign/countersign/adapters/wording"
	"github.com/countersign/countersign/tickets"
)

// testFiles are the repository's test files by the name of their folder.
func testFiles(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string][]string{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata"):
			return fs.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		abs, err := filepath.Abs(path)
		if err != nil {
			return err
		}
		b, err := os.ReadFile(path)
		folder := filepath.Base(filepath.Dir(abs))
		files[folder] = append(files[folder], string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

var (
	quoted    = regexp.MustCompile("`([^`]+)`")
	typed     = regexp.MustCompile(`(?m)^ *(?:COUNTERSIGN_\S+ )?(countersign [^#>\n]*)`) // on a line of its own, as in a block
	variable  = regexp.MustCompile(`\bCOUNTERSIGN_[A-Z_]+`)
	plainWord = regexp.MustCompile(`^[a-z][a-z-]*$`)
)

// TestManual: what docs/manual.md names is there.
func TestManual(t *testing.T) {
	b, err := os.ReadFile("../../docs/manual.md")
	if err != nil {
		t.Fatal(err)
	}
	files := testFiles(t)
	rows := 0
	for line := range strings.Lines(string(b)) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| ---") || strings.HasPrefix(line, "| Section") {
			continue
		}
		rows++
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 3 {
			t.Errorf("%d cells in %s", len(cells), line)
			continue
		}
		title, here, shown := strings.TrimSpace(cells[0]), strings.TrimSpace(cells[1]), strings.TrimSpace(cells[2])
		switch {
		case here == "" && shown == "" && strings.HasPrefix(title, "**"): // a heading
		case shown == "–":
			if !strings.HasPrefix(here, "Does not apply: ") {
				t.Errorf("%s: no test shows it, and it does not say why none needs to", title)
			}
		case !quoted.MatchString(shown):
			t.Errorf("%s: no test", title)
		}
		for _, m := range quoted.FindAllStringSubmatch(shown, -1) {
			if problem := noTest(files, m[1]); problem != "" {
				t.Errorf("%s: %s: %s", title, m[1], problem)
			}
		}
		for _, m := range quoted.FindAllStringSubmatch(here, -1) {
			if problem := noCommand(m[1]); problem != "" {
				t.Errorf("%s: %s: %s", title, m[1], problem)
			}
		}
		for _, name := range variable.FindAllString(here, -1) {
			if !slices.Contains(variables(), strings.TrimPrefix(name, envPrefix+"_")) {
				t.Errorf("%s: there is no variable %s", title, name)
			}
		}
	}
	if rows < 60 {
		t.Errorf("%d rows, want one for each section of the manual", rows)
	}
	for name, named := range map[string]bool{
		"slack.TestNoSuchTest": false, "nowhere.TestManual": false, "countersign.TestTroubleshooting/NoSuchCase": false,
		"countersign.TestTroubleshooting/Secret": true, "countersign.TestManual": true,
	} {
		if (noTest(files, name) == "") != named {
			t.Errorf("%s is a test: %v, want %v", name, !named, named)
		}
	}
	for text, named := range map[string]bool{
		"/epm dance": false, "countersign dance": false, "countersign settings dance": false, "/epm config dance": false,
		"/epm config set": true, "countersign settings import --dry-run": true, "countersign settings import --wet": false, "auto_close": true,
	} {
		if (noCommand(text) == "") != named {
			t.Errorf("%s is there: %v, want %v", text, !named, named)
		}
	}
}

// noTest says why there is no test of that name, folder.Test or
// folder.Test/Case, or "".
func noTest(files map[string][]string, name string) string {
	folder, rest, ok := strings.Cut(name, ".")
	test, sub, hasSub := strings.Cut(rest, "/")
	if !ok || !strings.HasPrefix(test, "Test") {
		return "write folder.Test"
	}
	for _, text := range files[folder] {
		if strings.Contains(text, "\nfunc "+test+"(") {
			if hasSub && !strings.Contains(text, `"`+sub+`":`) {
				return "it has no such case"
			}
			return ""
		}
	}
	return "there is no such test in " + folder
}

// noCommand says why text is no word of /epm or command of the program, or ""
// if it is, or is nothing of the kind.
func noCommand(text string) string {
	words := strings.Fields(text)
	var usage string
	switch {
	case len(words) == 0: // a value alone
		return ""
	case words[0] == "/"+adapters.CommandName && len(words) > 1:
		for _, w := range wording.Commands() {
			if w.Name == words[1] {
				usage = w.Usage()
			}
		}
	case words[0] == "countersign" && len(words) > 1:
		for _, c := range commands() {
			if c.name == words[1] {
				usage = c.name + " " + c.args
			}
		}
	default:
		return ""
	}
	if usage == "" {
		return "there is no " + words[1]
	}
	known := strings.FieldsFunc(usage, func(r rune) bool { return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyz-", r) })
	for _, w := range words[2:] {
		if (plainWord.MatchString(w) || strings.HasPrefix(w, "--")) && !slices.Contains(known, w) {
			return words[1] + " has no " + w
		}
	}
	return ""
}

// TestSecurity: the tests that docs/security.md names are there, and each
// threat has one.
func TestSecurity(t *testing.T) {
	b, err := os.ReadFile("../../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	files := testFiles(t)
	threats := 0
	for line := range strings.Lines(string(b)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if !strings.HasPrefix(line, "| ") || len(cells) != 3 || strings.HasPrefix(line, "| Threat") || strings.HasPrefix(line, "| ---") {
			continue
		}
		threats++
		named := quoted.FindAllStringSubmatch(cells[2], -1)
		if len(named) == 0 {
			t.Errorf("no test shows the answer to: %s", cells[0])
		}
		for _, m := range named {
			if problem := noTest(files, m[1]); problem != "" {
				t.Errorf("%s: %s: %s", strings.TrimSpace(cells[0]), m[1], problem)
			}
		}
	}
	if threats < 20 {
		t.Errorf("%d threats were read", threats)
	}
}

// TestSettingsAreInTheDocumentation: docs/configuration.md names every key.
func TestSettingsAreInTheDocumentation(t *testing.T) {
	b, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	_, settings, _ := strings.Cut(string(b), "## Settings")
	for _, key := range tickets.SettingKeys() {
		if !strings.Contains(settings, "`"+key+"`") {
			t.Errorf("docs/configuration.md does not tell of the setting %s", key)
		}
	}
}

// TestCommandsAreInTheDocumentation: each command is told of somewhere, and
// what the documents call a command is one.
func TestCommandsAreInTheDocumentation(t *testing.T) {
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	all := ""
	for _, page := range append(pages, "../../README.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		all += string(b)
		for _, m := range slices.Concat(quoted.FindAllStringSubmatch(string(b), -1), typed.FindAllStringSubmatch(string(b), -1)) {
			if problem := noCommand(withoutValues(m[1])); problem != "" {
				t.Errorf("%s: %s: %s", filepath.Base(page), m[1], problem)
			}
		}
	}
	for _, c := range commands() {
		if !strings.Contains(all, "countersign "+c.name) && !strings.Contains(all, "`"+c.name) && !strings.Contains(all, "make "+c.name) {
			t.Errorf("no document tells of countersign %s", c.name)
		}
	}
}

// TestContributingNamesFiles: what CONTRIBUTING.md says to open is there.
func TestContributingNamesFiles(t *testing.T) {
	b, err := os.ReadFile("../../CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(b), "| Looking for | Open |")
	table, _, _ = strings.Cut(table, "\n\n")
	named := quoted.FindAllStringSubmatch(table, -1)
	if len(named) < 10 {
		t.Errorf("%d files are named: the test looks in the wrong place", len(named))
	}
	for _, m := range named {
		if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
			t.Errorf("CONTRIBUTING.md names %s: %v", m[1], err)
		}
	}
}

// withoutValues is a command as noCommand understands it: what is typed
// behind a word of /epm, or as the value of a flag, may be anything.
func withoutValues(text string) string {
	words := strings.Fields(text)
	if len(words) > 2 && words[0] == "/"+adapters.CommandName {
		return strings.Join(words[:2], " ")
	}
	var kept []string
	for i, w := range words {
		if i == 0 || !strings.HasPrefix(words[i-1], "--") || strings.HasPrefix(w, "--") {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}
