package main

import (
	"slices"
	"testing"
	"time"
)

// TestHealthyRollouts is a part of the table small enough for every run of the tests:
// of the same seeds, none may be aborted, and all must get to the end.
func TestHealthyRollouts(t *testing.T) {
	runs := 4
	if testing.Short() {
		runs = 1
	}
	for _, n := range nulls()[:5] {
		if got := countNull(n, options{runs: runs, seed: 1}); got.aborted > 0 || got.promoted != runs {
			t.Errorf("%s: of %d healthy rollouts: %+v", n.name, runs, got)
		}
	}
}

// TestRegressions checks that the same seeds find what is wrong in time, and that what
// is within the tolerance is no reason to stop.
func TestRegressions(t *testing.T) {
	for _, c := range []struct {
		name   string
		within time.Duration // 0: never
	}{
		{"errors to 100%", 20 * time.Second},
		{"errors to 20%", time.Minute},
		{"errors to 2%", 25 * time.Minute},
		{"TTFT x2", 5 * time.Minute},
		{"TTFT x1.5", 5 * time.Minute},
		{"TTFT x1.1", 0},
		{"TPOT x1.5", 5 * time.Minute},
	} {
		i := slices.IndexFunc(regressions(), func(n null) bool { return n.name == c.name })
		times, missed := aborts(regressions()[i].traffic, options{detections: 3, seed: 1})
		switch {
		case c.within == 0 && missed < 3:
			t.Errorf("%s: aborted after %v", c.name, times)
		case c.within > 0 && (missed > 0 || times[1] > c.within):
			t.Errorf("%s: missed %d of 3, times %v, want a median within %s", c.name, missed, times, c.within)
		}
	}
}
