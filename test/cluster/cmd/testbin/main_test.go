package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestHyperKey checks that whatever hyper is made from changes the key, and
// nothing else does.
func TestHyperKey(t *testing.T) {
	module := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(module, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	seen := map[string]string{}
	differs := func(what, goVersion string) {
		t.Helper()
		key, err := hyperKey(module, goVersion)
		if err != nil {
			t.Fatal(err)
		}
		if before, ok := seen[key]; ok {
			t.Errorf("%s: the key is that of %s", what, before)
		}
		seen[key] = what
	}
	write("go.mod", "module a")
	write("go.sum", "")
	write("cmd/hyper/main.go", "package main")
	differs("the first state", "go1")
	differs("another compiler", "go2")
	write("go.mod", "module b")
	differs("another go.mod", "go1")
	write("go.sum", "x")
	differs("another go.sum", "go1")
	write("cmd/hyper/new.go", "package main")
	differs("a new file", "go1")
	before := len(seen)
	write("cmd/up/main.go", "package main")
	if key, err := hyperKey(module, "go1"); err != nil || seen[key] == "" || len(seen) != before {
		t.Errorf("another program's source changed the key, error %v", err)
	}
	if err := os.Remove(filepath.Join(module, "go.sum")); err != nil {
		t.Fatal(err)
	}
	if _, err := hyperKey(module, "go1"); err == nil {
		t.Error("no error without a go.sum")
	}
}
