package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Every ```console block of the README and the guide is run as written: lines
// that begin with "$ " are commands (a trailing backslash continues one), the
// lines below are what they print. "..." stands for any text within a line, and
// alone on a line for any lines. What differs from run to run (ports of simulated
// servers, ids, times) is made equal on both sides first.
//
// The commands run in one shell session per page, in a copy of the examples. A
// gateway that a page starts with "crossfade up ... &" has its ports moved to free
// ones, so that the test disturbs nothing that runs on this machine.
func TestDocs(t *testing.T) {
	pages, err := filepath.Glob("../docs/guide/*.md")
	if err != nil {
		t.Fatal(err)
	}
	binary := buildBinary(t)
	for _, page := range append(pages, "../README.md") {
		t.Run(filepath.Base(page), func(t *testing.T) { newPageRun(t, binary).run(t, read(t, page)) })
	}
}

func buildBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "crossfade")
	if out, err := exec.Command("go", "build", "-o", path, "../cmd/crossfade").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path
}

// pageRun is the sandbox one page's commands run in.
type pageRun struct {
	dir, bin, port, admin string
	background            []*exec.Cmd
}

func newPageRun(t *testing.T, binary string) *pageRun {
	t.Helper()
	p := &pageRun{dir: t.TempDir(), bin: t.TempDir(), port: freePort(t), admin: freePort(t)}
	// The wrapper gives up and status the admin port of this sandbox.
	wrapper := fmt.Sprintf("#!/bin/sh\ncase \"$1\" in\nup|status) c=\"$1\"; shift; exec %s \"$c\" --admin 127.0.0.1:%s \"$@\";;\nesac\nexec %s \"$@\"\n", binary, p.admin, binary)
	if err := os.WriteFile(filepath.Join(p.bin, "crossfade"), []byte(wrapper), 0o700); err != nil { // #nosec: it is run
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(p.dir, "examples"), os.DirFS("../examples")); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(p.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.WriteFile(path, []byte(p.moved(read(t, path))), 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	return p
}

// moved replaces the documented ports by this sandbox's.
func (p *pageRun) moved(s string) string {
	s = regexp.MustCompile(`\b8080\b`).ReplaceAllString(s, p.port)
	return regexp.MustCompile(`\b19000\b`).ReplaceAllString(s, p.admin)
}

func (p *pageRun) run(t *testing.T, page string) {
	commands := consoleCommands(page)
	for _, c := range commands {
		if background, ok := strings.CutSuffix(c.command, " &"); ok {
			out := p.start(t, background)
			matchOutput(t, c, p, out)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		cmd := p.command(ctx, c.command)
		out, err := cmd.CombinedOutput()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatalf("%s: %v", c.command, err)
		}
		matchOutput(t, c, p, string(out))
	}
}

func (p *pageRun) command(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-c", p.moved(line)) // #nosec: commands of our own docs
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "PATH="+p.bin+":"+os.Getenv("PATH"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// start runs line in the background and returns what it printed until the gateway
// was ready.
func (p *pageRun) start(t *testing.T, line string) string {
	t.Helper()
	var out bytes.Buffer
	cmd := p.command(context.Background(), "exec "+line)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.background = append(p.background, cmd)
	for deadline := time.Now().Add(time.Minute); ; {
		resp, err := http.Get("http://127.0.0.1:" + p.admin + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				http.DefaultClient.CloseIdleConnections()
				return ""
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: not ready: %s", line, out.String())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *pageRun) stop() {
	for _, cmd := range p.background {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // its output was looked at where it mattered
	}
}

type consoleCommand struct {
	command string
	output  []string // nil: not shown, not compared
}

// consoleCommands returns the commands of a page's console blocks with the output
// it shows for them.
func consoleCommands(page string) []consoleCommand {
	var out []consoleCommand
	inside, continued := false, false
	for _, line := range strings.Split(page, "\n") {
		switch {
		case !inside:
			inside = line == "```console"
		case strings.HasPrefix(line, "```"):
			inside = false
		case continued:
			last := &out[len(out)-1]
			last.command += "\n" + line
			continued = strings.HasSuffix(line, "\\")
		case strings.HasPrefix(line, "$ "):
			out = append(out, consoleCommand{command: line[2:]})
			continued = strings.HasSuffix(line, "\\")
		case len(out) > 0:
			last := &out[len(out)-1]
			last.output = append(last.output, line)
		}
	}
	return out
}

// varying is what no two runs have in common.
var varying = regexp.MustCompile(`127\.0\.0\.1:\d{5}|\b\d{4}-\d\d-\d\d \d\d:\d\d:\d\d|-[0-9a-f]{6,12}-[a-z0-9]{1,5}\b`)

func matchOutput(t *testing.T, c consoleCommand, p *pageRun, got string) {
	t.Helper()
	want := strings.TrimSpace(strings.Join(c.output, "\n"))
	if want == "" {
		return
	}
	if !regexp.MustCompile(outputPattern(p.moved(want))).MatchString(plain(got)) {
		t.Errorf("$ %s\nprinted\n%s\nand the page says\n%s", c.command, got, want)
	}
}

// plain makes equal what varies, and the spaces that line columns up with it.
func plain(s string) string {
	s = varying.ReplaceAllString(strings.TrimSpace(s), "…")
	return regexp.MustCompile(`[ \t]+`).ReplaceAllString(s, " ")
}

func outputPattern(want string) string {
	var b strings.Builder
	b.WriteString(`\A`)
	for i, line := range strings.Split(plain(want), "\n") {
		if strings.TrimSpace(line) == "..." {
			b.WriteString(`(?s:.*?)`)
			continue
		}
		if i > 0 {
			b.WriteString(`\n?`)
		}
		b.WriteString(strings.ReplaceAll(regexp.QuoteMeta(strings.TrimRight(line, " ")), `\.\.\.`, `.*`) + ` *`)
	}
	return b.String() + `\s*\z`
}
