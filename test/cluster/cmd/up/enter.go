package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"crossfade.dev/test/cluster/internal/namespaces"
)

// enter runs a command in the namespaces of a cluster that stays. It keeps the
// working directory: inside, the file system is the same.
func enter(args []string) error {
	flags := flag.NewFlagSet("up enter", flag.ContinueOnError)
	dir := flags.String("dir", "", "folder of the cluster")
	if err := flags.Parse(args); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if *dir == "" {
		return fmt.Errorf("%w: up enter --dir DIR [-- COMMAND ARGUMENT...]", errUsage)
	}
	folder, err := filepath.Abs(*dir)
	if err != nil {
		return err
	}
	pid, err := readPID(folder)
	if err != nil {
		return err
	}
	command := flags.Args()
	if len(command) == 0 {
		command = []string{"/bin/sh"}
		if shell := os.Getenv("SHELL"); shell != "" {
			command[0] = shell
		}
	}
	env, err := environment(folder)
	if err != nil {
		return err
	}
	if err := os.Setenv("PATH", filepath.Join(folder, "bin")+":"+os.Getenv("PATH")); err != nil {
		return err
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if cmd.Dir, err = os.Getwd(); err != nil {
		return err
	}
	if err := namespaces.StartIn(pid, syscall.CLONE_NEWNET|syscall.CLONE_NEWNS|syscall.CLONE_NEWPID, cmd); err != nil {
		return err
	}
	namespaces.Forward(cmd.Process)
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitCode(namespaces.ExitCode(exit.Sys().(syscall.WaitStatus)))
	}
	return err
}
