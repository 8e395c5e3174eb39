package main

import (
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

// TestRegressions checks that the same seeds find what is wrong in time.
func TestRegressions(t *testing.T) {
	for _, c := range []struct {
		name   string
		within time.Duration
		change func(*traffic)
	}{
		{"errors to 100%", 20 * time.Second, func(t *traffic) { t.bad[failed] = 1 }},
		{"errors to 20%", 2 * time.Minute, func(t *traffic) { t.bad[failed] = 0.2 }},
		{"TTFT x2", 5 * time.Minute, func(t *traffic) { t.slower = 2 }},
	} {
		traffic := usual()
		c.change(&traffic)
		times, missed := aborts(traffic, options{detections: 3, seed: 1, session: 1})
		if missed > 0 || times[len(times)/2] > c.within {
			t.Errorf("%s: missed %d of 3, times %v, want a median within %s", c.name, missed, times, c.within)
		}
	}
}
