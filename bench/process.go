//go:build linux

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// childMark in the environment tells a test binary that it was started as the
// harness's own helper.
const childMark = "CROSSFADE_BENCH_CHILD"

// A process is a program that the harness started and will stop.
type process struct {
	name   string
	cmd    *exec.Cmd
	output *tail
	exited chan struct{} // closed when the program has ended
}

// startProcess runs argv on one processor. With firstLine set it waits for the
// program's first line of output and returns it.
func startProcess(name string, cpu int, argv []string, firstLine bool) (*process, string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, "", fmt.Errorf("find own program: %w", err)
	}
	p := &process{name: name, output: &tail{}, exited: make(chan struct{})}
	p.cmd = exec.Command(self, append([]string{"pin", strconv.Itoa(cpu)}, argv...)...)
	p.cmd.Env = append(os.Environ(), childMark+"=1")
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	// A group of its own, so that Ctrl-C reaches the harness alone and it stops the
	// others in order; and should the harness die, they are told to stop.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	var lines io.ReadCloser
	if firstLine {
		p.cmd.Stdout = nil // a pipe wants it unset
		if lines, err = p.cmd.StdoutPipe(); err != nil {
			return nil, "", fmt.Errorf("start %s: %w", name, err)
		}
	}
	if err := p.cmd.Start(); err != nil {
		return nil, "", fmt.Errorf("start %s: %w", name, err)
	}
	line := ""
	if firstLine {
		line, err = bufio.NewReader(lines).ReadString('\n')
	}
	go func() {
		_ = p.cmd.Wait() // how it ended is in its output
		close(p.exited)
	}()
	if err != nil {
		return nil, "", errors.Join(fmt.Errorf("start %s: %w: %s", name, err, p.output), p.stop())
	}
	return p, line, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// alive says whether the program still runs.
func (p *process) alive() error {
	select {
	case <-p.exited:
		return errors.New("it has ended")
	default:
		return nil
	}
}

// explain adds the program's last words to what went wrong with it.
func (p *process) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w; it printed: %s", p.name, errors.Join(err, p.alive()), p.output)
}

// stop asks the program to end and, after five seconds, ends it.
func (p *process) stop() error {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return fmt.Errorf("stop %s: %w", p.name, err)
		}
		select {
		case <-p.exited:
			return nil
		case <-time.After(5 * time.Second):
		}
	}
	return fmt.Errorf("stop %s: process %d does not end", p.name, p.pid())
}

// A tail keeps the last of what a program prints.
type tail struct {
	mu   sync.Mutex
	text []byte
}

const tailSize = 4 << 10

// Write keeps p and never fails.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - tailSize; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// String is what is kept.
func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.text)
}
