// Command vulndb makes, of the reports in the module golang.org/x/vulndb, a
// database in the form that govulncheck reads from a folder:
// https://go.dev/doc/security/vuln/database
//
//	go run ./.ci/vulndb MODULE-DIRECTORY DATABASE-DIRECTORY
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report is what the index needs of one.
type report struct {
	ID        string     `json:"id"`
	Modified  time.Time  `json:"modified"`
	Withdrawn *time.Time `json:"withdrawn"`
	Affected  []struct {
		Package struct {
			Name string `json:"name"`
		} `json:"package"`
	} `json:"affected"`
}

type vuln struct {
	ID       string    `json:"id"`
	Modified time.Time `json:"modified"`
}

type module struct {
	Path  string `json:"path"`
	Vulns []vuln `json:"vulns"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "vulndb: name the module's directory and the database's")
		os.Exit(2)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "vulndb:", err)
		os.Exit(1)
	}
}

func write(from, to string) error {
	paths, err := filepath.Glob(filepath.Join(from, "data", "osv", "GO-*.json"))
	if err != nil {
		return err
	}
	if len(paths) < 1000 { // there were 4,000 in 2026
		return fmt.Errorf("%d reports are too few: the module has another form", len(paths))
	}
	if err := errors.Join(os.MkdirAll(filepath.Join(to, "ID"), 0o755), os.MkdirAll(filepath.Join(to, "index"), 0o755)); err != nil {
		return err
	}
	modules, newest := map[string][]vuln{}, time.Time{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var r report
		if err := json.Unmarshal(b, &r); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
		if r.ID != strings.TrimSuffix(filepath.Base(path), ".json") || len(r.Affected) == 0 {
			return fmt.Errorf("%s: it is no report", filepath.Base(path))
		}
		if r.Withdrawn != nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(to, "ID", r.ID+".json"), b, 0o644); err != nil {
			return err
		}
		seen := map[string]bool{}
		for _, a := range r.Affected {
			if name := a.Package.Name; !seen[name] {
				seen[name] = true
				modules[name] = append(modules[name], vuln{r.ID, r.Modified})
			}
		}
		if r.Modified.After(newest) {
			newest = r.Modified
		}
	}
	var index []module
	for path, vulns := range modules {
		index = append(index, module{path, vulns})
	}
	slices.SortFunc(index, func(a, b module) int { return strings.Compare(a.Path, b.Path) })
	return errors.Join(
		writeJSON(filepath.Join(to, "index", "modules.json"), index),
		writeJSON(filepath.Join(to, "index", "db.json"), map[string]time.Time{"modified": newest}),
	)
}

func writeJSON(path string, value any) error {
	b, err := json.Marshal(value)
	if err != nil {
		return err
	}
	return os.WriteFile(path, b, 0o644)
}
