//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"time"
)

// A target is one proxy under test.
type target struct {
	name string
	// rewrites says that answers must name a group's own model: the proxy has read
	// the body and put the name of the version in it.
	rewrites bool
	// prepare writes the proxy's configuration into dir and returns its command.
	prepare func(dir, addr string, engines engineAddresses) (argv []string, err error)
	// version asks the installed program for its version; empty when it has none.
	version []string

	addr string
	dir  string
	proc *process
}

// errNotInstalled marks a target whose program is missing.
var errNotInstalled = errors.New("not installed")

// start runs t on a free port and waits until it answers well.
func (t *target) start(ctx context.Context, dir string, cpu int, engines engineAddresses) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	t.addr, t.dir = fmt.Sprintf("127.0.0.1:%d", port), filepath.Join(dir, fmt.Sprintf("%s-%d", t.name, port))
	// The workers of a program started as root may run as somebody else.
	if err := os.Mkdir(t.dir, 0o755); err != nil {
		return fmt.Errorf("directory of %s: %w", t.name, err)
	}
	argv, err := t.prepare(t.dir, t.addr, engines)
	if err != nil {
		return fmt.Errorf("configuration of %s: %w", t.name, err)
	}
	if t.proc, _, err = startProcess(t.name, cpu, argv, false); err != nil {
		return err
	}
	if err := t.awaitAnswer(ctx); err != nil {
		return errors.Join(err, t.proc.stop())
	}
	return nil
}

// awaitAnswer tries until one request is answered as it must be.
func (t *target) awaitAnswer(ctx context.Context) error {
	last := errors.New("not tried")
	for deadline := time.Now().Add(stall); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if err := errors.Join(ctx.Err(), t.proc.alive()); err != nil {
			return t.proc.explain(err)
		}
		if last = probe(ctx, t.addr, t.rewrites); last == nil {
			return nil
		}
	}
	return t.proc.explain(fmt.Errorf("no good answer within %s: %w", stall, last))
}

// probe sends one request and returns what is wrong with the answer.
func probe(ctx context.Context, addr string, rewrites bool) error {
	l, err := newLoad(addr, 1, rewrites)
	if err != nil {
		return err
	}
	_, err = l.closedLoop(ctx, 1)
	return errors.Join(err, l.first, l.close())
}

// freePort returns a port that nothing listens on now. Another program may take it
// before the target does; the target then fails to start and the run says so.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// title is the target's name with its version, where it has one.
func (t *target) title() string {
	if len(t.version) == 0 {
		return t.name
	}
	out, err := exec.Command(t.version[0], t.version[1:]...).CombinedOutput()
	if err != nil {
		return t.name
	}
	if v := regexp.MustCompile(`\d+(\.\d+)+`).Find(out); v != nil {
		return t.name + " " + string(v)
	}
	return t.name
}

// knownTargets lists every target, in the order of the table's columns. With baseline
// set, that other build of Crossfade is one too.
func knownTargets(crossfade, baseline string) []*target {
	ours := func(name, program string) *target {
		return &target{name: name, rewrites: true, prepare: func(dir, addr string, e engineAddresses) ([]string, error) {
			return prepareCrossfade(program, dir, addr, e)
		}}
	}
	list := []*target{
		ours("crossfade", crossfade),
		{name: "nginx", prepare: prepareNginx, version: []string{"nginx", "-v"}},
		{name: "haproxy", prepare: prepareHaproxy, version: []string{"haproxy", "-v"}},
		{name: "reverseproxy", prepare: prepareReverse},
	}
	if baseline != "" {
		list = slices.Insert(list, 1, ours("baseline", baseline))
	}
	return list
}
