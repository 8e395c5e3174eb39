package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"crossfade.dev/test/cluster/internal/namespaces"
)

// Process is a container that was started.
type Process struct {
	cmd  *exec.Cmd
	uid  int
	gid  int
	env  []string
	done chan struct{}
	code int
}

// Network is where a container is started; network.Sandbox is one.
type Network interface{ Do(func() error) error }

// Start runs the container and returns once its program runs, or with the
// reason why it could not. What the program prints goes to stdout and stderr.
func Start(s Spec, network Network, stdout, stderr io.Writer) (*Process, error) {
	specR, specW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	reportR, reportW, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, specR.Close(), specW.Close())
	}
	defer reportR.Close()
	cmd := exec.Command("/proc/self/exe", InitArg)
	cmd.Env = []string{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.ExtraFiles = []*os.File{specR, reportW}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
		Setsid:     true,
	}
	err = network.Do(cmd.Start)
	_, _ = specR.Close(), reportW.Close() // the child has them now
	if err != nil {
		return nil, errors.Join(err, specW.Close())
	}
	p := &Process{cmd: cmd, uid: s.UID, gid: s.GID, env: s.Env, done: make(chan struct{})}
	err = errors.Join(json.NewEncoder(specW).Encode(s), specW.Close())
	go p.wait()
	if report, e := io.ReadAll(reportR); len(report) > 0 {
		err = errors.New(string(report))
	} else if e != nil {
		err = e
	}
	if err != nil {
		p.Kill()
		<-p.done
		return nil, err
	}
	return p, nil
}

func (p *Process) wait() {
	_ = p.cmd.Wait() // the code says it all
	p.code = namespaces.ExitCode(p.cmd.ProcessState.Sys().(syscall.WaitStatus))
	close(p.done)
}

// Done is closed when the container has ended and all its output is written.
func (p *Process) Done() <-chan struct{} { return p.done }

// ExitCode is valid after Done; signals count from 128.
func (p *Process) ExitCode() int { return p.code }

// PID is the process's number in the node's namespace.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Terminate asks the program to end.
func (p *Process) Terminate() { _ = p.cmd.Process.Signal(syscall.SIGTERM) }

// Kill ends the program and, since it is its pid namespace's first process,
// everything it started.
func (p *Process) Kill() { _ = p.cmd.Process.Kill() }

const everyNamespace = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC | syscall.CLONE_NEWNET

// Exec runs argv inside the container, as its user, until it ends or ctx does.
func (p *Process) Exec(ctx context.Context, argv []string) error {
	if len(argv) == 0 {
		return errors.New("exec: no command")
	}
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = p.env
	var output limitedBuffer
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(p.uid), Gid: uint32(p.gid)}}
	if err := namespaces.StartIn(p.PID(), everyNamespace, cmd); err != nil {
		return err
	}
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w: %s", err, output)
	}
	return nil
}

// limitedBuffer keeps the beginning of what a probe printed.
type limitedBuffer []byte

func (b *limitedBuffer) Write(p []byte) (int, error) {
	*b = append(*b, p[:min(len(p), 1024-len(*b))]...)
	return len(p), nil
}
