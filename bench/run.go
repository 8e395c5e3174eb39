//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"time"
)

// A run is one measurement of all targets.
type run struct {
	config
	dir     string
	engines engineAddresses
	targets []*target
	figures map[string]*figures // by target
	direct  latencies           // straight to an engine
	took    []time.Duration     // from writing a file to its effect, crossfade's
	log     io.Writer
}

// figures is what was measured of one target, one value per round.
type figures struct {
	cpuRequest []float64 // microseconds
	perSecond  []float64 // requests
	coreShare  []float64 // of one processor, 0 to 1, while that load ran
	latency    latencies
	cpuChunk   []float64 // microseconds
	baseBytes  int64
	idleBytes  int64
	wrong      int
	firstWrong error
}

// latencies is one median and one 99th percentile per round, in microseconds.
type latencies struct{ p50, p99 []float64 }

// measure carries out c and writes the table to out and progress to log.
func measure(ctx context.Context, c config, out, log io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "crossfade-bench-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Chmod(dir, 0o711); err != nil { // workers may run as another user
		return fmt.Errorf("open the directory to workers: %w", err)
	}
	if err := pinSelf(c.loadCPU); err != nil {
		return err
	}
	r := &run{config: c, dir: dir, figures: map[string]*figures{}, log: log}
	began := time.Now()
	machine := describeMachine()
	fmt.Fprintln(log, machine)
	err = r.all(ctx)
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%s; %d rounds in %s.\n\n%s", machine, c.rounds, time.Since(began).Round(time.Second), r.table())
	return nil
}

func (r *run) all(ctx context.Context) (err error) {
	engine, err := r.startEngine()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, engine.stop(), r.stopTargets()) }()
	if err := r.startTargets(ctx); err != nil {
		return err
	}
	for _, part := range r.partsInOrder() {
		fmt.Fprintf(r.log, "%s:", part.name)
		if err := part.measure(ctx); err != nil {
			fmt.Fprintln(r.log)
			return fmt.Errorf("%s: %w", part.name, err)
		}
		fmt.Fprintln(r.log)
	}
	return nil
}

type part struct {
	name    string
	measure func(context.Context) error
}

func (r *run) partsInOrder() []part {
	all := []part{
		{partRequests, r.inRounds(r.measureRequests)},
		{partLatency, r.measureLatency},
		{partStream, r.inRounds(r.measureStreams)},
		{partIdle, r.measureIdle},
		{partEffect, r.measureEffect},
	}
	return slices.DeleteFunc(all, func(p part) bool { return !slices.Contains(r.parts, p.name) })
}

// inRounds runs one for each target in turn, round after round.
func (r *run) inRounds(one func(context.Context, *target) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for round := range r.rounds {
			fmt.Fprintf(r.log, " %d", round+1)
			for _, t := range r.targets {
				if err := one(ctx, t); err != nil {
					return t.proc.explain(err)
				}
			}
		}
		return nil
	}
}

func (r *run) startEngine() (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find own program: %w", err)
	}
	p, line, err := startProcess("engine", r.loadCPU, []string{self, "engine", strconv.Itoa(r.endpoints)}, true)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(line), &r.engines); err != nil {
		return nil, errors.Join(fmt.Errorf("engine's addresses %q: %w", line, err), p.stop())
	}
	return p, nil
}

// startTargets starts what was asked for. A program that is not there is named and
// left out: its ratios are then missing from the table.
func (r *run) startTargets(ctx context.Context) error {
	for _, t := range knownTargets(r.crossfade, r.baseline) {
		if t.name != "baseline" && !slices.Contains(r.config.targets, t.name) {
			continue
		}
		err := t.start(ctx, r.dir, r.proxyCPU, r.engines)
		if errors.Is(err, errNotInstalled) {
			fmt.Fprintf(r.log, "left out: %v\n", err)
			continue
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(r.log, "%s is process %d on %s\n", t.name, t.proc.pid(), t.addr)
		r.targets = append(r.targets, t)
		r.figures[t.name] = &figures{}
	}
	if len(r.targets) == 0 {
		return errors.New("no target to measure")
	}
	return nil
}

func (r *run) stopTargets() error {
	var errs []error
	for _, t := range r.targets {
		errs = append(errs, t.proc.stop())
	}
	return errors.Join(errs...)
}

// book adds wrong answers to a target's account.
func (f *figures) book(l *load) {
	f.wrong += l.wrong
	if f.firstWrong == nil {
		f.firstWrong = l.first
	}
}
