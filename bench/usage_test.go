//go:build linux

package main

import (
	"os"
	"os/exec"
	"testing"
	"time"
)

func TestParseResident(t *testing.T) {
	got, err := parseResident([]byte("Name:\tnginx\nVmHWM:\t  900 kB\nVmRSS:\t  123 kB\nThreads:\t1\n"))
	if err != nil || got != 123<<10 {
		t.Errorf("%d, %v; want %d", got, err, 123<<10)
	}
	for _, bad := range []string{"", "VmRSS:\n", "VmRSS:\tx kB\n", "VmRSS:\t1 MB\n"} {
		if _, err := parseResident([]byte(bad)); err == nil {
			t.Errorf("%q: no error", bad)
		}
	}
}

func TestProcessTimeGrowsWithWork(t *testing.T) {
	before, err := processTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	x := 0
	for i := range 10_000_000 {
		x += i * i
	}
	after, err := processTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if x == 0 || after <= before {
		t.Errorf("processor time went from %s to %s over ten million multiplications", before, after)
	}
}

func TestProcessTimeOfNobody(t *testing.T) {
	cmd := exec.Command("true")
	if err := cmd.Run(); err != nil {
		t.Skip(err)
	}
	if d, err := processTime(cmd.Process.Pid); err == nil {
		t.Errorf("a process that has ended used %s", d)
	}
}

func TestChildrenCount(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Skip(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		for _, pid := range children(os.Getpid()) {
			if pid == cmd.Process.Pid {
				return
			}
		}
	}
	t.Errorf("children of this process are %v; %d is missing", children(os.Getpid()), cmd.Process.Pid)
}
