// Package probe runs the probes of containers and decides what they mean.
package probe

import (
	"time"

	v1 "k8s.io/api/core/v1"
)

// Kind is which of a container's three probes this is.
type Kind int

// The kinds differ before the first success: only Liveness waits a whole period
// after a failure then.
const (
	Readiness Kind = iota
	Liveness
	Startup
)

// Verdict is what a probe's results add up to.
type Verdict int

// A probe is Undecided until a threshold is reached for the first time.
const (
	Undecided Verdict = iota
	Good
	Bad
)

// quick is the pace before the first success of readiness and startup probes: a
// program that needs 20 ms to start should not cost a test a whole period.
const quick = 100 * time.Millisecond

// Tracker folds results into verdicts. It knows no clock: the caller waits.
type Tracker struct {
	kind              Kind
	period            time.Duration
	successes         int32
	failures          int32
	needGood, needBad int32
	quickly           time.Duration // spent on quick failures within this period
	answered          bool          // it has succeeded at least once
}

// NewTracker takes period and thresholds from p, Kubernetes' defaults for zeros.
func NewTracker(kind Kind, p *v1.Probe) *Tracker {
	t := &Tracker{kind: kind, period: time.Duration(p.PeriodSeconds) * time.Second, needGood: max(p.SuccessThreshold, 1), needBad: p.FailureThreshold}
	if t.period <= 0 {
		t.period = 10 * time.Second
	}
	if t.needBad <= 0 {
		t.needBad = 3
	}
	return t
}

// Observe takes one result and returns the verdict so far and how long to wait
// before the next attempt. Failures at the quick pace count once per period, so
// thresholds keep their meaning in time.
func (t *Tracker) Observe(ok bool) (Verdict, time.Duration) {
	wait := t.period
	if ok {
		t.successes, t.failures, t.answered = t.successes+1, 0, true
		if t.successes < t.needGood && t.kind != Liveness {
			wait = min(wait, quick)
		}
	} else {
		t.successes = 0
		if t.kind == Liveness || t.answered {
			t.failures++
		} else {
			if t.quickly == 0 {
				t.failures++
			}
			wait = min(wait, quick)
			if t.quickly += wait; t.quickly >= t.period {
				t.quickly = 0
			}
		}
	}
	return t.verdict(), wait
}

func (t *Tracker) verdict() Verdict {
	switch {
	case t.successes >= t.needGood:
		return Good
	case t.failures >= t.needBad:
		return Bad
	}
	return Undecided
}
