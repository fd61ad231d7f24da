package main

import "testing"

// Two processes that live have two names, and who comes after one that ended
// has its name; another store, or another address, is another life.
func TestLifeName(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	cfg := config{storeURL: "redis://:secret@127.0.0.1:1/0"}
	cfg.Listen = ":8080"
	first, free := lifeName(cfg)
	second, end := lifeName(cfg)
	defer end()
	if first == "" || second == "" || first == second {
		t.Fatalf("two that live are called %q and %q, want two names", first, second)
	}
	elsewhere, other := cfg, cfg
	elsewhere.Listen, other.storeURL = ":8081", "redis://127.0.0.1:1/0?tenant=b"
	for _, c := range []config{elsewhere, other} {
		name, end := lifeName(c)
		defer end()
		if name == "" || name == first || name == second {
			t.Errorf("another life is called %q too", name)
		}
	}
	free()
	if again, end := lifeName(cfg); again != first {
		t.Errorf("who comes after %q is called %q", first, again)
	} else {
		end()
	}
	// SQLite's leases end with the process, and so do those of one that cannot
	// make the file.
	if name, _ := lifeName(config{storePath: "a.db"}); name != "" {
		t.Errorf("with SQLite the name is %q, want none", name)
	}
	t.Setenv("TMPDIR", "/nonexistent")
	if name, _ := lifeName(cfg); name != "" {
		t.Errorf("without a folder for temporary files the name is %q, want none", name)
	}
}
