//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"
)

// unpinned is the processor number that stands for any of them.
const unpinned = -1

// pinThread moves one thread, 0 for the caller, to one processor.
func pinThread(tid, cpu int) error {
	if cpu == unpinned {
		return nil
	}
	var set [16]uint64 // 1024 processors, as the kernel's own cpu_set_t
	if cpu < 0 || cpu >= len(set)*64 {
		return fmt.Errorf("no processor %d", cpu)
	}
	set[cpu/64] = 1 << (cpu % 64)
	_, _, errno := syscall.RawSyscall(syscall.SYS_SCHED_SETAFFINITY, uintptr(tid), unsafe.Sizeof(set), uintptr(unsafe.Pointer(&set)))
	if errno != 0 {
		return fmt.Errorf("move to processor %d: %w", cpu, errno)
	}
	return nil
}

// pinSelf moves every thread of this process to cpu. Threads made later inherit it.
func pinSelf(cpu int) error {
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list own threads: %w", err)
	}
	for _, t := range tasks {
		tid, err := strconv.Atoi(t.Name())
		if err != nil {
			return fmt.Errorf("thread %q: %w", t.Name(), err)
		}
		if err := pinThread(tid, cpu); err != nil {
			return err
		}
	}
	return nil
}

// execPinned becomes the program argv on cpu, with as many open files as the system
// allows: thousands of streams need them.
func execPinned(cpu int, argv []string) error {
	runtime.LockOSThread() // exec keeps what the calling thread has
	if err := pinThread(0, cpu); err != nil {
		return err
	}
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	files.Cur = files.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	return fmt.Errorf("exec %s: %w", path, syscall.Exec(path, argv, os.Environ()))
}
