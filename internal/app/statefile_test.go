package app

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	cfv1a1 "crossfade.dev/api/v1alpha1"
)

func saved(name, phase string) []savedRollout {
	return []savedRollout{{Namespace: "llm", Name: name, Status: cfv1a1.InferenceRolloutStatus{Phase: phase, Machine: `{"step":1}`}}}
}

func mustOpen(t *testing.T, path string) (*stateFile, []savedRollout) {
	t.Helper()
	f, list, err := openState(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.close() })
	return f, list
}

func TestStateFileRemembers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "state.json")
	f, list := mustOpen(t, path)
	if len(list) != 0 {
		t.Errorf("a new file holds %v", list)
	}
	for _, phase := range []string{"Progressing", "Promoted"} {
		if err := f.write(saved("a", phase)); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
	if _, _, err := openState(path); !errors.Is(err, errStateTaken) {
		t.Errorf("a second process gets %v", err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	_, list = mustOpen(t, path)
	if len(list) != 1 || list[0].Status.Phase != "Promoted" || list[0].Status.Machine != `{"step":1}` {
		t.Errorf("it remembers %+v", list)
	}
}

// A crash while the file is written leaves the file before, and perhaps the
// temporary one.
func TestStateFileSurvivesCrashes(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	f, _ := mustOpen(t, path)
	if err := f.write(saved("a", "Progressing")); err != nil {
		t.Fatal(err)
	}
	if err := f.close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, ".state.json.123"), []byte(`{"version": 1, "rollo`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, list := mustOpen(t, path)
	if len(list) != 1 || list[0].Status.Phase != "Progressing" {
		t.Errorf("it remembers %+v", list)
	}
}

// A write that fails leaves what was there.
func TestStateFileIsWrittenWhollyOrNot(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may write everywhere")
	}
	dir := t.TempDir()
	f, _ := mustOpen(t, filepath.Join(dir, "state.json"))
	if err := f.write(saved("a", "Progressing")); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o700)
	if err := f.write(saved("a", "Promoted")); err == nil {
		t.Error("written into a directory that is closed")
	}
	if list, err := f.read(); err != nil || list[0].Status.Phase != "Progressing" {
		t.Errorf("%+v, error %v", list, err)
	}
}

func TestUnreadableStateFiles(t *testing.T) {
	for name, c := range map[string]struct {
		content string
		moved   bool
	}{
		"cut off":   {`{"version": 1, "rollouts": [{"name": "a"`, true},
		"empty":     {"", true},
		"other":     {"[]", true},
		"unmarked":  {"{}", true},
		"too new":   {`{"version": 2}`, false},
		"too large": {strings.Repeat(" ", maxState) + `{"version": 1}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "state.json")
			if err := os.WriteFile(path, []byte(c.content), 0o600); err != nil {
				t.Fatal(err)
			}
			f, list, err := openState(path)
			var broken *unreadableState
			if err == nil || len(list) > 0 || errors.As(err, &broken) != c.moved || (f != nil) != c.moved {
				t.Fatalf("file %v, %v, error %v", f, list, err)
			}
			kept := path
			if c.moved {
				kept = broken.moved
				_ = f.close()
			}
			if text, err := os.ReadFile(kept); err != nil || string(text) != c.content {
				t.Errorf("what was there is lost: %v", err)
			}
		})
	}
}

func TestDefaultStateFile(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", "/state")
	name := func(paths ...string) string {
		path, err := DefaultStateFile(paths)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	one := name("/x/my examples/all.yaml", "/y")
	if !strings.HasPrefix(one, "/state/crossfade/all-") || !strings.HasSuffix(one, ".json") {
		t.Errorf("it is %s", one)
	}
	if name("/y/../y", "/x/my examples/all.yaml")[len("/state/crossfade/y"):] != one[len("/state/crossfade/all"):] {
		t.Error("the order of paths, or how they are written, makes another file")
	}
	if name("/x") == name("/y/x") {
		t.Error("two directories of one name share a file")
	}
	if got := name("/x/é/.."); !strings.HasPrefix(got, "/state/crossfade/x-") {
		t.Errorf("it is %s", got)
	}
	t.Setenv("XDG_STATE_HOME", "relative")
	t.Setenv("HOME", "/home/ann")
	if got := name("/"); !strings.HasPrefix(got, "/home/ann/.local/state/crossfade/state-") {
		t.Errorf("it is %s", got)
	}
	t.Setenv("HOME", "")
	if path, err := DefaultStateFile([]string{"/x"}); err == nil {
		t.Errorf("without a home it is %s", path)
	}
}
