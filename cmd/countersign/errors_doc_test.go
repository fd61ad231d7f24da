package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// verbs are what a text leaves open, and shown is how docs/errors.md writes it.
var verbs = regexp.MustCompile(`%[+#]?[a-z]`)

const shown = "…"

// toldTexts are the texts that people and operators read when something does
// not work, by where they stand: sentences of constants and functions that are
// named Msg…, msg… or say…, what is said about a variable or an address, and the
// answers to webhooks.
func toldTexts(t *testing.T) map[string][]string {
	t.Helper()
	texts := map[string][]string{}
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasSuffix(d.Name(), "test") || d.Name() == "testdata" || d.Name() == "node_modules" || d.Name() == "tests" || d.Name() == "demo"):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(filepath.ToSlash(path), "../../")
		texts[name] = append(texts[name], told(file, name)...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return texts
}

// sentence is from how many bytes on a text of a function is one of its own,
// and not a piece between others.
const sentence = 24

// told are the texts of one file.
func told(file *ast.File, name string) (texts []string) {
	says := func(s string) bool {
		s = strings.ToLower(s[:1]) + s[1:]
		if !strings.HasPrefix(s, "say") && !strings.HasPrefix(s, "msg") || len(s) == 3 {
			return false
		}
		return s[3:4] != strings.ToLower(s[3:4])
	}
	literals := func(n ast.Node, from int) {
		ast.Inspect(n, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil && strings.Contains(text, " ") && len(text) >= from {
					texts = append(texts, text)
				}
			}
			return true
		})
	}
	wholeFile := name == "store/redis/address.go" || name == "cmd/countersign/config.go" || name == "cmd/countersign/config_chats.go"
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ValueSpec:
			for i, id := range n.Names {
				if i < len(n.Values) && (says(id.Name) || name == "store/redis/errors.go" && id.Name == "answers") {
					literals(n.Values[i], 0)
				}
			}
		case *ast.FuncDecl:
			if says(n.Name.Name) {
				literals(n, sentence)
				return false
			}
		case *ast.CallExpr:
			called := ""
			switch f := n.Fun.(type) {
			case *ast.SelectorExpr:
				called = f.Sel.Name
			case *ast.Ident:
				called = f.Name
			}
			switch {
			case wholeFile && (called == "add" || called == "need" || called == "New" || called == "Errorf"),
				name == "epm/receiver.go" && called == "refuse":
				for _, arg := range n.Args {
					literals(arg, 0)
				}
			}
		}
		return true
	})
	return texts
}

// TestErrorsAreInTheDocumentation: docs/errors.md explains each text that
// people and operators can meet.
func TestErrorsAreInTheDocumentation(t *testing.T) {
	b, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := strings.ReplaceAll(string(b), `\|`, "|")
	n := 0
	for file, texts := range toldTexts(t) {
		for _, text := range texts {
			n++
			want := strings.TrimSpace(verbs.ReplaceAllString(strings.ReplaceAll(text, "%%", "%"), shown))
			if !strings.Contains(doc, want) {
				t.Errorf("docs/errors.md does not explain what %s says: %s", file, want)
			}
		}
	}
	if n < 120 {
		t.Errorf("%d texts were found: the search looks in the wrong place", n)
	}
}
