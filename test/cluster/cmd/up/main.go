// up boots a Kubernetes cluster of plain processes in namespaces of its own and
// runs a command inside, or stays until it is stopped. README.md of this module
// is its manual.
//
//	up [flags]                     stay, and say how to enter
//	up [flags] -- COMMAND ARG...   run a command inside and exit with its code
//	up enter --dir DIR [-- ...]    run a shell or command in a cluster that stays
//
// It runs as three processes: the caller's, which only waits; the first of the
// new pid namespace, which collects orphans; and the cluster itself.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"crossfade.dev/test/cluster/internal/container"
	"crossfade.dev/test/cluster/internal/namespaces"
)

// The first argument of the two inner processes; options follow as JSON.
const (
	stageInit    = "namespace-init"
	stageCluster = "namespace-cluster"
)

func main() {
	stage := ""
	if len(os.Args) > 1 {
		stage = os.Args[1]
	}
	var code int
	switch stage {
	case container.InitArg:
		container.Init()
	case stageInit:
		code = namespaces.Init([]string{"up", stageCluster, os.Args[2]})
	case stageCluster:
		code = report(inside(os.Args[2]))
	case "enter":
		code = report(enter(os.Args[2:]))
	default:
		code = report(outside(os.Args[1:]))
	}
	os.Exit(code)
}

// exitCode is an error that only carries a command's exit code.
type exitCode int

func (e exitCode) Error() string { return "exit " + strconv.Itoa(int(e)) }

// report prints an error and chooses the exit code: a command's own, 77 where
// namespaces are not permitted, 2 for wrong usage, 1 otherwise.
func report(err error) int {
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	}
	fmt.Fprintln(os.Stderr, "up:", err)
	switch {
	case errors.Is(err, namespaces.ErrNotPermitted):
		return namespaces.NotPermitted
	case errors.Is(err, errUsage):
		return 2
	}
	return 1
}

// outside checks what was asked for, makes the namespaces and waits.
func outside(args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	keep := o.Dir != ""
	if o.Dir, err = prepareDir(o.Dir); err != nil {
		return err
	}
	if !keep {
		defer os.RemoveAll(o.Dir)
	}
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	runtime.LockOSThread() // the cluster dies with this thread, should we be killed
	cmd := exec.Command("/proc/self/exe", stageInit, string(data))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := namespaces.Start(cmd); err != nil {
		return err
	}
	namespaces.Forward(cmd.Process)
	pidFile := filepath.Join(o.Dir, "pid")
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(cmd.Process.Pid)), 0o644); err != nil {
		return errors.Join(err, cmd.Process.Kill(), cmd.Wait())
	}
	_ = cmd.Wait() // the code says it all
	if err := os.Remove(pidFile); err != nil {
		return err
	}
	if code := namespaces.ExitCode(cmd.ProcessState.Sys().(syscall.WaitStatus)); code != 0 {
		return exitCode(code)
	}
	return nil
}
