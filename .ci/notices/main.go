// Command notices prints the licences of everything that is linked into the
// program, on the systems that a release is for:
//
//	go run ./.ci/notices > THIRD_PARTY_NOTICES.txt
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// notice is how the files are named that must go with a copy.
var notice = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|copyright|patents|unlicense)([-._].*)?$`)

type module struct {
	Path, Version, Dir string
	Main               bool
	Replace            *module
}

func main() {
	w := bufio.NewWriter(os.Stdout)
	if err := errors.Join(write(w), w.Flush()); err != nil {
		fmt.Fprintln(os.Stderr, "notices:", err)
		os.Exit(1)
	}
}

func write(w io.Writer) error {
	// dirs are the folders of a module from which something is linked: parts
	// of it may have a licence of their own.
	mods, dirs := map[string]*module{}, map[string]map[string]bool{}
	for _, system := range []string{"linux/amd64", "linux/arm64", "darwin/amd64", "darwin/arm64"} {
		goos, goarch, _ := strings.Cut(system, "/")
		cmd := exec.Command("go", "list", "-deps", "-json=Dir,Standard,Module", "./cmd/countersign")
		cmd.Env = append(os.Environ(), "GOOS="+goos, "GOARCH="+goarch, "CGO_ENABLED=0", "GOFLAGS=")
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("go list for %s: %w", system, err)
		}
		for d := json.NewDecoder(bytes.NewReader(out)); ; {
			var p struct {
				Dir      string
				Standard bool
				Module   *module
			}
			if err := d.Decode(&p); err == io.EOF {
				break
			} else if err != nil {
				return err
			}
			if p.Standard || p.Module == nil || p.Module.Main {
				continue
			}
			if mods[p.Module.Path] == nil {
				mods[p.Module.Path], dirs[p.Module.Path] = p.Module, map[string]bool{}
			}
			for dir := p.Dir; strings.HasPrefix(dir, p.Module.Dir); dir = filepath.Dir(dir) {
				dirs[p.Module.Path][dir] = true
			}
		}
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		return err
	}
	fmt.Fprint(w, "Countersign is under the licence in the file LICENSE. The program also holds what follows,\nwhich others wrote, under these licences.\n")
	goroot := strings.TrimSpace(string(root))
	if err := one(w, "The Go programming language and its standard library, https://go.dev", goroot, []string{goroot}); err != nil {
		return err
	}
	unicode, err := os.ReadFile("adapters/wording/LICENSE.unicode")
	if err != nil {
		return err
	}
	section(w, "Data files of Unicode, https://www.unicode.org, changed: adapters/wording/lookalikes_tables.go", unicode)
	for _, path := range sorted(mods) {
		if err := one(w, path+" "+mods[path].Version, mods[path].Dir, sorted(dirs[path])); err != nil {
			return err
		}
	}
	return nil
}

// one prints the notices of one module.
func one(w io.Writer, title, top string, dirs []string) error {
	found := 0
	if apart := filepath.Join(top, "licenses"); !slices.Contains(dirs, apart) {
		if _, err := os.Stat(apart); err == nil && !strings.Contains(title, "go.dev") {
			dirs = append(dirs, apart)
		}
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			apart := filepath.Base(dir) == "licenses"
			if e.IsDir() || !apart && !notice.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			name, err := filepath.Rel(top, filepath.Join(dir, e.Name()))
			if err != nil {
				return err
			}
			found++
			section(w, title+", "+filepath.ToSlash(name), b)
		}
	}
	if found == 0 {
		return fmt.Errorf("%s: no licence is found in %s", title, top)
	}
	return nil
}

func section(w io.Writer, title string, text []byte) {
	rule := strings.Repeat("=", 80)
	fmt.Fprintf(w, "\n%s\n%s\n%s\n\n%s\n", rule, title, rule, strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n")))
}

func sorted[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
