package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestPanicsTellTheirTypeAlone: the value of a panic may hold a secret or
// somebody's text. Wherever one is caught its type is told, and where.
func TestPanicsTellTheirTypeAlone(t *testing.T) {
	caught := 0
	err := filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (d.Name() == "node_modules" || d.Name() == "check"):
			return fs.SkipDir
		case !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, path, nil, 0)
		if err != nil {
			return err
		}
		n, wrong := panicsTold(file)
		caught += n
		for _, at := range wrong {
			t.Errorf(`%s: write "panic: %%T", and nothing else of what was caught`, set.Position(at))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if caught < 10 {
		t.Errorf("%d panics are caught: this test looks in the wrong place", caught)
	}
	for _, bad := range []string{`fmt.Sprint(p)`, `fmt.Errorf("panic: %v", p)`, `log.Error("x", "panic", p)`, `fmt.Errorf("panic: %T %v", p, p)`, `f(p.(error))`, `fmt.Errorf("panic: %T %s", p, p)`} {
		file, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x\nfunc f() { defer func() { if p := recover(); p != nil { "+bad+" } }() }", 0)
		if err != nil {
			t.Fatal(err)
		}
		if n, wrong := panicsTold(file); n != 1 || len(wrong) == 0 {
			t.Errorf("%s is not found", bad)
		}
	}
}

// panicsTold counts where a panic's value is caught, and finds where more of
// it is used than its type.
func panicsTold(file *ast.File) (caught int, wrong []token.Pos) {
	ast.Inspect(file, func(n ast.Node) bool {
		var body *ast.BlockStmt
		switch f := n.(type) {
		case *ast.FuncLit:
			body = f.Body
		case *ast.FuncDecl:
			body = f.Body
		}
		if body == nil {
			return true
		}
		for _, stmt := range body.List {
			ifs, ok := stmt.(*ast.IfStmt)
			if !ok {
				continue
			}
			assign, ok := ifs.Init.(*ast.AssignStmt)
			if !ok || len(assign.Rhs) != 1 {
				continue
			}
			call, ok := assign.Rhs[0].(*ast.CallExpr)
			if !ok {
				continue
			}
			if f, ok := call.Fun.(*ast.Ident); !ok || f.Name != "recover" {
				continue
			}
			caught++
			wrong = append(wrong, usesOf(ifs, assign.Lhs[0].(*ast.Ident).Name)...)
		}
		return true
	})
	return caught, wrong
}

// usesOf are the uses of what was caught that tell more than its type.
func usesOf(ifs *ast.IfStmt, name string) (wrong []token.Pos) {
	allowed := map[*ast.Ident]bool{}
	is := func(e ast.Expr) *ast.Ident {
		if id, ok := e.(*ast.Ident); ok && id.Name == name {
			return id
		}
		return nil
	}
	ast.Inspect(ifs, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.AssignStmt:
			for _, e := range n.Lhs {
				allowed[is(e)] = true
			}
		case *ast.BinaryExpr: // p != nil, p == http.ErrAbortHandler
			allowed[is(n.X)] = true
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.Ident); ok && f.Name == "panic" {
				allowed[is(n.Args[0])] = true
			}
			if len(n.Args) > 1 {
				if lit, ok := n.Args[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, err := strconv.Unquote(lit.Value); err == nil && strings.HasPrefix(text, "panic: %T") {
						allowed[is(n.Args[1])] = true
					}
				}
			}
		}
		return true
	})
	ast.Inspect(ifs, func(n ast.Node) bool {
		if id, ok := n.(*ast.Ident); ok && id.Name == name && !allowed[id] {
			wrong = append(wrong, id.Pos())
		}
		return true
	})
	return wrong
}

// TestHandlerThatPanics: net/http would log the value.
func TestHandlerThatPanics(t *testing.T) {
	var log syncBuffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	s := httptest.NewUnstartedServer(withoutPanics(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("planted-value") }), logger))
	s.Config.ErrorLog = slog.NewLogLogger(logger.Handler(), slog.LevelWarn)
	s.Start()
	defer s.Close()
	res, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusInternalServerError {
		t.Errorf("%d, %v", res.StatusCode, err)
	}
	if text := log.String(); strings.Contains(text, "planted") || !strings.Contains(text, "panic: string") {
		t.Errorf("the log says\n%s", text)
	}
}
