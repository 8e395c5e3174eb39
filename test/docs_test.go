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
	"sync"
	"syscall"
	"testing"
	"time"

	"crossfade.dev/test/page"
	"crossfade.dev/test/port"
)

// Every ```console block of the README and the guide is run as written and its
// output compared, see package page. Pages for a cluster are run by test/e2e.
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
	for _, path := range append(pages, "../README.md") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text := read(t, path)
			if strings.Contains(text, "<!-- commands: cluster -->") {
				t.Skip("its commands are run by `make e2e`")
			}
			if strings.Contains(text, "<!-- commands: long -->") {
				t.Parallel() // it waits, and computes little
			}
			newPageRun(t, binary).run(t, text)
		})
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
	dir, bin   string
	ports      map[string]string // of the page, to free ones
	admin      string
	background []*exec.Cmd
	groups     []int // of every command, for what it left running
}

// documentedPorts are the ports that pages use.
var documentedPorts = regexp.MustCompile(`\b(8080|19000|18000|18001)\b`)

func newPageRun(t *testing.T, binary string) *pageRun {
	t.Helper()
	p := &pageRun{dir: t.TempDir(), bin: t.TempDir(), ports: map[string]string{}}
	for _, documented := range []string{"8080", "19000", "18000", "18001"} {
		p.ports[documented] = port.Free(t)
	}
	p.admin = p.ports["19000"]
	// The wrapper gives up and status the admin port of this sandbox.
	wrapper := fmt.Sprintf("#!/bin/sh\ncase \"$1\" in\nup|status|explain|rollout) c=\"$1\"; shift; exec %s \"$c\" --admin 127.0.0.1:%s \"$@\";;\nesac\nexec %s \"$@\"\n", binary, p.admin, binary)
	if err := os.WriteFile(filepath.Join(p.bin, "crossfade"), []byte(wrapper), 0o700); err != nil { // #nosec: it is run
		t.Fatal(err)
	}
	// A reader's machine is not busy with other tests.
	slow := fmt.Sprintf("#!/bin/sh\nexec %s $(($1 * 3))\n", look(t, "sleep"))
	if err := os.WriteFile(filepath.Join(p.bin, "sleep"), []byte(slow), 0o700); err != nil { // #nosec: it is run
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

func look(t *testing.T, program string) string {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// moved replaces the documented ports by this sandbox's.
func (p *pageRun) moved(s string) string {
	return documentedPorts.ReplaceAllStringFunc(s, func(port string) string { return p.ports[port] })
}

func (p *pageRun) run(t *testing.T, text string) {
	commands := page.Commands(text)
	for _, c := range commands {
		if background, ok := strings.CutSuffix(c.Line, " &"); ok {
			p.start(t, background, c)
			continue
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		cmd := p.command(ctx, c.Line)
		out, err := cmd.CombinedOutput()
		p.groups = append(p.groups, cmd.Process.Pid)
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatalf("%s: %v", c.Line, err)
		}
		if problem := c.Differs(string(out), p.moved); problem != "" {
			t.Error(problem)
		}
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

// start runs line in the background until the test ends, and waits until the
// gateway is ready and has printed what c says.
func (p *pageRun) start(t *testing.T, line string, c page.Command) {
	t.Helper()
	p.stopBackground() // a page has one gateway at a time
	out := &lockedBuffer{}
	cmd := p.command(context.Background(), "exec "+line)
	cmd.Stdout, cmd.Stderr = out, testWriter{t}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p.background = append(p.background, cmd)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		problem := c.Differs(out.String(), p.moved)
		if p.ready() && problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: ready: %v; %s", line, p.ready(), problem)
		}
	}
}

func (p *pageRun) ready() bool {
	resp, err := http.Get("http://127.0.0.1:" + p.admin + "/readyz")
	if err != nil {
		return false
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// lockedBuffer collects a process's output while it is looked at.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (p *pageRun) stopBackground() {
	for _, cmd := range p.background {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // its output was looked at where it mattered
	}
	p.background = nil
}

func (p *pageRun) stop() {
	p.stopBackground()
	for _, group := range p.groups {
		_ = syscall.Kill(-group, syscall.SIGTERM) // most have ended by themselves
	}
}
