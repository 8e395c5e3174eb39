//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tiny is a run that takes a moment and measures nothing worth reading.
func tiny(targets ...string) config {
	c := defaultConfig()
	c.targets = targets
	c.proxyCPU, c.loadCPU = unpinned, unpinned
	c.rounds, c.endpoints = 2, 2
	c.requests, c.connections = 200, 8
	c.rate, c.latencyTime = 200, 50*time.Millisecond
	c.streams, c.every, c.streamTime = 8, 5*time.Millisecond, 100*time.Millisecond
	c.idleStreams, c.effects = 20, 2
	return c
}

// smoke runs c and checks that every part left its row and nothing else behind.
func smoke(t *testing.T, c config) string {
	t.Helper()
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	var out, log bytes.Buffer
	if err := measure(t.Context(), c, &out, &log); err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
	for _, row := range []string{"CPU µs per request", "requests/s, 8 connections", "added latency p50", "added latency p99",
		"CPU µs per SSE chunk, 8 streams", "RSS MiB at start", "RSS MiB at 20 idle streams", "| wrong answers | 0 "} {
		if !strings.Contains(out.String(), row) {
			t.Errorf("the table has no row %q:\n%s", row, &out)
		}
	}
	if strings.Contains(out.String(), "first wrong answer") {
		t.Errorf("there are wrong answers:\n%s", &out)
	}
	return out.String()
}

func TestSmokeReverseProxy(t *testing.T) {
	smoke(t, tiny("reverseproxy"))
}

func TestSmokePeers(t *testing.T) {
	for _, name := range []string{"nginx", "haproxy"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("%s is not installed; on Debian: apt-get install nginx-light haproxy", name)
		}
	}
	table := smoke(t, tiny("nginx", "haproxy"))
	for _, ratio := range []string{"| × haproxy |", "| × nginx |"} {
		if !strings.Contains(table, ratio) {
			t.Errorf("no row %q:\n%s", ratio, table)
		}
	}
}

func TestMissingProgramsAreLeftOut(t *testing.T) {
	c := tiny("reverseproxy", "crossfade")
	c.parts = []string{partRequests}
	c.crossfade = filepath.Join(t.TempDir(), "nothing")
	var out, log bytes.Buffer
	if err := measure(t.Context(), c, &out, &log); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "left out") || !strings.Contains(log.String(), "make build") {
		t.Errorf("the log does not say what is left out and how to get it:\n%s", &log)
	}
}

func TestStoppedRunStopsItsProcesses(t *testing.T) {
	c := tiny("reverseproxy")
	c.requests = 1 << 30
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	var out, log bytes.Buffer
	if err := measure(ctx, c, &out, &log); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v, want %v", err, context.Canceled)
	}
	if left := children(os.Getpid()); len(left) > 0 {
		t.Errorf("processes %v still run", left)
	}
}
