//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// measureEffect moves all traffic from one group to the other by rewriting the
// route's file, again and again, and takes the time from the write until the answers
// change. Afterwards no answer may come from the old group.
func (r *run) measureEffect(ctx context.Context) (err error) {
	var t *target
	for _, candidate := range r.targets {
		if candidate.name == "crossfade" {
			t = candidate
		}
	}
	if t == nil {
		fmt.Fprint(r.log, " crossfade is not measured; nothing to do")
		return nil
	}
	objects := filepath.Join(t.dir, "objects")
	l, err := newLoad(t.addr, 1, t.rewrites)
	if err != nil {
		return err
	}
	defer func() {
		r.figures[t.name].book(l)
		g := groups()
		err = errors.Join(err, l.close(), writeRoute(objects, g[0].weight, g[1].weight))
	}()
	if err := writeRoute(objects, 100, 0); err != nil {
		return err
	}
	if err := settle(ctx, l); err != nil {
		return err
	}
	for i := range r.effects {
		want := 1 - i%2
		weights := [2]int{}
		weights[want] = 100
		took, err := effectOf(ctx, l, want, func() error { return writeRoute(objects, weights[0], weights[1]) })
		if err != nil {
			return err
		}
		r.took = append(r.took, took)
	}
	return nil
}

// settle asks until 200 answers in a row come from the first group: from then on one
// answer of the other tells that a change has been made.
func settle(ctx context.Context, l *load) error {
	for deadline := time.Now().Add(stall); time.Now().Before(deadline); {
		l.check.seen = [2]int{}
		if _, err := l.closedLoop(ctx, 200); err != nil {
			return err
		}
		if l.check.seen[0] == 200 {
			return nil
		}
	}
	return fmt.Errorf("weights 100 to 0 do not take effect within %s; seen %v", stall, l.check.seen)
}

// effectOf changes the weights and asks until an answer comes from group want.
func effectOf(ctx context.Context, l *load, want int, change func() error) (time.Duration, error) {
	start := time.Now()
	if err := change(); err != nil {
		return 0, err
	}
	for {
		if time.Since(start) > stall {
			return 0, fmt.Errorf("a change of weights has no effect within %s", stall)
		}
		l.check.seen = [2]int{}
		if _, err := l.closedLoop(ctx, 1); err != nil {
			return 0, err
		}
		if l.check.seen[want] == 1 {
			break
		}
	}
	took := time.Since(start)
	l.check.seen = [2]int{}
	if _, err := l.closedLoop(ctx, 200); err != nil {
		return 0, err
	}
	if old := l.check.seen[1-want]; old > 0 {
		return 0, fmt.Errorf("%d of 200 answers still came from the old version after the first from the new", old)
	}
	return took, nil
}
