package images

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestArgv(t *testing.T) {
	for _, c := range []struct {
		name          string
		image         Image
		command, args []string
		want          string
	}{
		{"the image's program", Image{Program: "/bin/a"}, nil, nil, "/a"},
		{"args for the program", Image{Program: "/bin/a"}, nil, []string{"-x"}, "/a -x"},
		{"a command replaces the program", Image{Program: "/bin/a"}, []string{"b"}, []string{"-x"}, "b -x"},
		{"args of the table stand alone", Image{Program: "/bin/sleep", Args: []string{"9"}}, []string{"b"}, []string{"-x"}, "/sleep 9"},
		{"the command as arguments", Image{Program: "/bin/crossfade", Args: []string{"sim", "--", "$command"}},
			[]string{"sh", "-c", "vllm serve m"}, []string{"z"}, "/crossfade sim -- sh -c vllm serve m z"},
		{"only args", Image{Program: "/bin/a", Args: []string{"$args", "end"}}, []string{"b"}, []string{"-x"}, "/a -x end"},
		{"nothing to run", Image{HostRoot: true}, nil, nil, "error: the image has no program and the container no command"},
	} {
		c.image.Match = "."
		if err := c.image.check(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		argv, err := c.image.Argv(c.command, c.args)
		got := strings.Join(argv, " ")
		if err != nil {
			got = "error: " + err.Error()
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, c := range []struct{ yaml, want string }{
		{"images: [{program: a}]", "images[0]: match is missing"},
		{"images: [{match: '(', program: a}]", "match: error parsing regexp"},
		{"images: [{match: a}]", "program is missing"},
		{"images: [{match: a, hostRoot: true, args: [b]}]", "args need a program"},
		{"images: [{match: a, program: b, path: c}]", "want an absolute one"},
		{"images: [{match: a, program: b, files: {c: d}}]", "want an absolute path"},
		{"images: [{match: a, program: b, uid: -1}]", "negative"},
		{"images: [{match: a, progam: b}]", "progam"},
		{"- match: a", "cannot unmarshal"},
	} {
		if _, err := Parse([]byte(c.yaml)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.yaml, err, c.want)
		}
	}
}

func TestLoad(t *testing.T) {
	bin, folder := t.TempDir(), t.TempDir()
	write := func(path, text string) string {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
		return path
	}
	write(filepath.Join(bin, "crossfade"), "")
	write(filepath.Join(folder, "local"), "")
	first := write(filepath.Join(folder, "1.yaml"), "images:\n- {match: '/qwen.*:v1$', program: crossfade}\n- {match: ^local, program: ./local}\n")
	second := write(filepath.Join(folder, "2.yaml"), "images:\n- {match: qwen, program: /bin/sh}\n")
	table, err := Load([]string{first, second}, []string{bin})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ref := range []string{"registry.example/dev/qwen-2.5:v1", "qwen:v2", "local", "unknown"} {
		if image, ok := table.Lookup(ref); ok {
			got = append(got, image.Program)
		} else {
			got = append(got, "none")
		}
	}
	want := []string{filepath.Join(bin, "crossfade"), "/bin/sh", filepath.Join(folder, "local"), "none"}
	if !slices.Equal(got, want) {
		t.Errorf("programs %q, want %q", got, want)
	}
	missing := write(filepath.Join(folder, "3.yaml"), "images: [{match: a, program: nowhere}]")
	if _, err := Load([]string{missing}, []string{bin}); err == nil || !strings.Contains(err.Error(), "nowhere is in none of") {
		t.Errorf("a program that is missing: error %v", err)
	}
}
