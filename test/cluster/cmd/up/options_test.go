package main

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestPrepareDir(t *testing.T) {
	fresh := filepath.Join(t.TempDir(), "a", "b")
	dir, err := prepareDir(fresh)
	if err != nil || dir != fresh {
		t.Fatalf("a new folder: %s, error %v", dir, err)
	}
	put := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("old.log", "")
	if _, err := prepareDir(dir); err != nil {
		t.Errorf("a cluster's former folder: %v", err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 || entries[0].Name() != marker {
		t.Errorf("it was not emptied: %v", entries)
	}
	put("pid", strconv.Itoa(os.Getpid()))
	if _, err := prepareDir(dir); err == nil || !strings.Contains(err.Error(), "a cluster runs there") {
		t.Errorf("a cluster that runs: error %v", err)
	}
	if err := os.Remove(filepath.Join(dir, marker)); err != nil {
		t.Fatal(err)
	}
	if _, err := prepareDir(dir); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("somebody else's folder: error %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "pid")); err != nil {
		t.Error("it was emptied")
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", "--dir DIR is needed"},
		{"--dir", "flag needs an argument"},
		{"--emulated-version x -- true", "want MAJOR.MINOR"},
		{"--max-probe-delay soon -- true", "invalid value"},
	} {
		_, err := parse(strings.Fields(c.args))
		if !errors.Is(err, errUsage) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("up %s: error %v, want %q", c.args, err, c.want)
		}
	}
	if _, err := parse([]string{"--crds", "/no/such/file", "--", "true"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is missing: error %v", err)
	}
}

func TestExitCodeOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{{nil, 0}, {exitCode(5), 5}, {errUsage, 2}, {errors.New("x"), 1}} {
		if got := report(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}
