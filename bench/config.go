//go:build linux

package main

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"
)

// The parts of a run.
const (
	partRequests = "requests"
	partLatency  = "latency"
	partStream   = "stream"
	partIdle     = "idle"
	partEffect   = "effect"
)

// allParts lists the parts in the order they run.
func allParts() []string {
	return []string{partRequests, partLatency, partStream, partIdle, partEffect}
}

// A config is what a run measures and how much of it.
type config struct {
	targets, parts []string
	crossfade      string // path of the program
	baseline       string // path of another build of it, or empty
	rounds         int
	endpoints      int // engines per group
	proxyCPU       int
	loadCPU        int

	requests    int // per target and round
	connections int

	rate        int // requests a second
	latencyTime time.Duration

	streams    int
	every      time.Duration // between two events of a stream
	streamTime time.Duration

	idleStreams int
	effects     int
}

func defaultConfig() config {
	c := config{
		parts:     allParts(),
		crossfade: "bin/crossfade",
		rounds:    5, endpoints: 4,
		proxyCPU: 0, loadCPU: 1,
		requests: 30_000, connections: 64,
		rate: 1000, latencyTime: 3 * time.Second,
		streams: 100, every: 10 * time.Millisecond, streamTime: 3 * time.Second,
		idleStreams: 2000, effects: 20,
	}
	for _, t := range knownTargets("", "") {
		c.targets = append(c.targets, t.name)
	}
	if runtime.NumCPU() < 2 {
		c.proxyCPU, c.loadCPU = unpinned, unpinned
	}
	return c
}

// validate returns every mistake in c, each naming the flag.
func (c *config) validate() error {
	var errs []error
	bad := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	var names []string
	for _, t := range knownTargets("", "") {
		names = append(names, t.name)
	}
	for _, t := range c.targets {
		bad(slices.Contains(names, t), "--targets: no target %q; there are %v", t, names)
	}
	for _, p := range c.parts {
		bad(slices.Contains(allParts(), p), "--parts: no part %q; there are %v", p, allParts())
	}
	for _, cpu := range []int{c.proxyCPU, c.loadCPU} {
		bad(cpu >= unpinned && cpu < runtime.NumCPU(), "no processor %d: there are %d, and %d leaves the choice to the system", cpu, runtime.NumCPU(), unpinned)
	}
	bad(len(c.targets) > 0, "--targets is empty")
	bad(len(c.parts) > 0, "--parts is empty")
	bad(c.rounds > 0, "--rounds must be above 0")
	bad(c.endpoints > 0 && c.endpoints <= 64, "--endpoints must be 1 to 64")
	bad(c.requests > 0, "--requests must be above 0")
	bad(c.connections > 0 && c.connections <= 1000, "--connections must be 1 to 1000")
	bad(c.rate > 0 && c.rate <= 1_000_000, "--rate must be 1 to 1000000")
	bad(c.latencyTime >= time.Second/time.Duration(max(c.rate, 1)), "--latency-time is too short for one request")
	bad(c.streams > 0 && c.streams <= 5000, "--streams must be 1 to 5000")
	bad(c.every > 0, "--chunk-interval must be above 0")
	bad(c.streamTime > 0, "--stream-time must be above 0")
	bad(c.idleStreams > 0 && c.idleStreams <= 5000, "--idle-streams must be 1 to 5000")
	bad(c.effects > 0, "--effects must be above 0")
	return errors.Join(errs...)
}
