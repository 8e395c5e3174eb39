package e2e

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"crossfade.dev/test/page"
)

// docs runs the commands of the guide's page on Kubernetes, in one shell session as a
// reader would, and compares what they print. It leaves nothing behind.
func docs(t *testing.T) {
	text, err := os.ReadFile(file("docs", "guide", "kubernetes.md"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(file("who")) }) // the page writes this script where the repository is
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	shell := newShell(ctx, t, *root)
	shell.do(t, "sleep() { command sleep $(($1 * 3)); }") // a reader's machine does not run a cluster beside
	for _, c := range page.Commands(string(text)) {
		if wrong := c.Differs(shell.do(t, c.Line), func(s string) string { return s }); wrong != "" {
			t.Error(wrong)
		}
	}
	kubectl(t, "delete", "--ignore-not-found", "-f", file("examples", "gray-release"))
}

// shell is bash with commands read one at a time, so that what one sets the next
// finds.
type shell struct {
	input *os.File
	lines chan string
}

// theEnd is what the shell prints after each command.
const theEnd = "-- the command has ended --"

func newShell(ctx context.Context, t *testing.T, dir string) *shell {
	t.Helper()
	in, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	output, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, "bash") // #nosec: commands of our own docs
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = dir, in, out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	out.Close()
	s := &shell{input: input, lines: make(chan string)}
	go s.read(output)
	t.Cleanup(func() {
		input.Close()
		for range s.lines { // until the shell is gone
		}
		_ = cmd.Wait() // what it ran has been looked at
	})
	return s
}

// read hands the lines on that the shell prints.
func (s *shell) read(output *os.File) {
	defer close(s.lines)
	defer output.Close()
	for scanner := bufio.NewScanner(output); scanner.Scan(); {
		s.lines <- scanner.Text()
	}
}

// do runs one command and returns what it printed.
func (s *shell) do(t *testing.T, command string) string {
	t.Helper()
	if _, err := s.input.WriteString(command + "\necho; echo '" + theEnd + "'\n"); err != nil {
		t.Fatal(err)
	}
	var out []string
	for line := range s.lines {
		if line == theEnd {
			return strings.Join(out, "\n")
		}
		out = append(out, line)
	}
	t.Fatalf("the shell ended at %s", command)
	return ""
}
