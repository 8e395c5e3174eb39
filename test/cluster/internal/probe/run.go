package probe

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
)

// Run probes until ctx ends or report returns false. report is told the verdict
// after each attempt, and the last attempt's error.
func Run(ctx context.Context, kind Kind, p *v1.Probe, delay time.Duration, attempt func(context.Context) error, report func(Verdict, error) bool) {
	tracker := NewTracker(kind, p)
	for wait := delay; sleep(ctx, wait); {
		err := attempt(ctx)
		if ctx.Err() != nil {
			return // a container that ended did not fail its probe
		}
		var verdict Verdict
		verdict, wait = tracker.Observe(err == nil)
		if !report(verdict, err) {
			return
		}
	}
}

// sleep reports false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
