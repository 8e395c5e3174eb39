//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// processTime is the processor time that a process and its children have used, user
// and system together: what /proc/PID/stat shows, in nanoseconds instead of ticks.
func processTime(pid int) (time.Duration, error) {
	var sum time.Duration
	for _, p := range append(children(pid), pid) {
		// The kernel's number for "processor time of this process":
		// clock_getcpuclockid(3) computes the same.
		const processScheduled = 2
		clock := ^uintptr(p)<<3 | processScheduled
		var ts syscall.Timespec
		if _, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, clock, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
			return 0, fmt.Errorf("processor time of process %d: %w", p, errno)
		}
		sum += time.Duration(ts.Nano())
	}
	return sum, nil
}

// children returns the direct children of pid, nginx's workers for one.
func children(pid int) []int {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil // the process is gone; reading its clock will say so
	}
	var found []int
	for _, t := range tasks {
		list, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, t.Name()))
		if err != nil {
			continue
		}
		for _, f := range strings.Fields(string(list)) {
			if child, err := strconv.Atoi(f); err == nil {
				found = append(found, child)
			}
		}
	}
	return found
}

// residentBytes is the memory that a process and its children hold. Pages that they
// share count for each, which matters to nginx alone and there for about 2 MiB.
func residentBytes(pid int) (int64, error) {
	var sum int64
	for _, p := range append(children(pid), pid) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p))
		if err != nil {
			return 0, fmt.Errorf("memory of process %d: %w", p, err)
		}
		n, err := parseResident(status)
		if err != nil {
			return 0, fmt.Errorf("memory of process %d: %w", p, err)
		}
		sum += n
	}
	return sum, nil
}

// parseResident reads the VmRSS line of a /proc/PID/status file.
func parseResident(status []byte) (int64, error) {
	for line := range bytes.Lines(status) {
		value, ok := bytes.CutPrefix(line, []byte("VmRSS:"))
		if !ok {
			continue
		}
		fields := strings.Fields(string(value))
		if len(fields) != 2 || fields[1] != "kB" {
			return 0, fmt.Errorf("VmRSS line %q", line)
		}
		n, err := strconv.ParseInt(fields[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("VmRSS line: %w", err)
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("no VmRSS line")
}
