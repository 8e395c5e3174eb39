// Package namespaces starts programs in Linux namespaces: new ones for a
// cluster, or those of a running process.
//
// A thread that changed its namespaces cannot always go back, so everything
// here that does so runs on a locked thread that ends with its goroutine.
package namespaces

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// NotPermitted is the exit code for a machine that forbids namespaces. It is
// the one that test harnesses commonly take for "skipped".
const NotPermitted = 77

// ErrNotPermitted reports that this process may not make namespaces.
var ErrNotPermitted = errors.New("this machine does not permit new network, mount and pid namespaces: " +
	"run as root, in a container with --privileged")

// Start starts cmd with namespaces of its own: network, mount and pid. It dies
// with the calling thread, which must therefore be locked and stay.
func Start(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
	}
	err := cmd.Start()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EINVAL) {
		return fmt.Errorf("%w (%w)", ErrNotPermitted, err)
	}
	return err
}

// Init is the first process of a pid namespace: it mounts the namespace's own
// /proc, starts argv, collects every orphan, and exits as argv does. The kernel
// then kills whatever else still runs, so nothing survives a cluster.
func Init(argv []string) int {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		fmt.Fprintln(os.Stderr, "up: make mounts private:", err)
		return NotPermitted
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		fmt.Fprintln(os.Stderr, "up: mount /proc:", err)
		return NotPermitted
	}
	child, err := os.StartProcess("/proc/self/exe", argv, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "up:", err)
		return 1
	}
	Forward(child)
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Fprintln(os.Stderr, "up: wait:", err)
			return 1
		case pid == child.Pid:
			return ExitCode(status)
		}
	}
}

// ExitCode is the code a shell would report: signals count from 128.
func ExitCode(status syscall.WaitStatus) int {
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// Forward hands the signals that ask for an end on to p, for as long as this
// process lives.
func Forward(p *os.Process) {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		for s := range signals {
			_ = p.Signal(s) // it may have ended by itself
		}
	}()
}

// StartIn starts cmd in the namespaces of process pid that kinds name
// (CLONE_NEW flags). Its program is sought in that process's file system.
func StartIn(pid int, kinds int, cmd *exec.Cmd) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread is spoilt
		result <- startIn(pid, kinds, cmd)
	}()
	return <-result
}

func startIn(pid int, kinds int, cmd *exec.Cmd) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	// A mount namespace cannot be entered while other threads share our root.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare: %w", err)
	}
	if err := unix.Setns(fd, kinds); err != nil {
		return fmt.Errorf("join namespaces of process %d: %w", pid, err)
	}
	// The name was looked up before, in another file system.
	if found, err := exec.LookPath(cmd.Args[0]); err == nil {
		cmd.Path, cmd.Err = found, nil
	}
	return cmd.Start()
}
