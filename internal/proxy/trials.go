package proxy

import (
	"context"
	"errors"
	"sync"

	"crossfade.dev/internal/routing"
)

// errRolloutCancelled is the cause with which exchanges end that are on the candidate
// of a rollout when it is aborted together with them.
var errRolloutCancelled = errors.New("the rollout was aborted with what was running on its candidate")

// trials are the exchanges that are on the candidate of some rollout, so that an
// abort can cut them. A request on stable is never among them, nor is one that was
// rescued.
type trials struct {
	mu      sync.Mutex
	running map[*trial]struct{}
	// cancelled are the attempts that the snapshot published last cancels: a request
	// that drew by the one before may come here later than that.
	cancelled map[attempt]bool
	// newest are the assignments of that snapshot.
	newest map[attempt]*routing.Assignment
}

// attempt names one attempt of one rollout.
type attempt struct {
	rollout string
	number  int64
}

func attemptOf(a *routing.Assignment) attempt { return attempt{a.Rollout, a.Attempt} }

// A trial is one exchange in trials. It is never used again, so that who holds one for
// too long cuts nobody else.
type trial struct {
	parts  [2]attempt // zero: none
	cancel context.CancelCauseFunc
}

// in reports whether one of the trial's attempts is among those given.
func (t *trial) in(cancelled map[attempt]bool) bool {
	return cancelled[t.parts[OfRule]] || cancelled[t.parts[OfModel]]
}

func (ts *trials) add(t *trial) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if ts.running == nil {
		ts.running = map[*trial]struct{}{}
	}
	ts.running[t] = struct{}{}
	if t.in(ts.cancelled) {
		t.cancel(errRolloutCancelled)
	}
}

func (ts *trials) remove(t *trial) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	delete(ts.running, t)
}

// adopt cuts what s cancels, now and until the next snapshot.
func (ts *trials) adopt(s *routing.Snapshot) {
	var cancelled map[attempt]bool
	newest := map[attempt]*routing.Assignment{}
	s.EachAssignment(func(a *routing.Assignment) {
		newest[attemptOf(a)] = a
		if !a.Cancel {
			return
		}
		if cancelled == nil {
			cancelled = map[attempt]bool{}
		}
		cancelled[attemptOf(a)] = true
	})
	ts.mu.Lock()
	defer ts.mu.Unlock()
	ts.newest = newest
	if ts.cancelled = cancelled; cancelled == nil {
		return
	}
	for t := range ts.running {
		if t.in(cancelled) {
			t.cancel(errRolloutCancelled)
		}
	}
}

// closed reports whether nobody is to get the candidate of an attempt any more.
func (ts *trials) closed(a *routing.Assignment) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	now := ts.newest[attemptOf(a)]
	return now != nil && (now.Share == 0 || now.Barred() || now.Cancel)
}

// place is where a request is drawn to. One whose body took long to come draws by a
// snapshot of before, but must not be the first after an abort.
func (x *exchange) place(a *routing.Assignment, at routing.Place) routing.Place {
	if at.Candidate && x.snapshot != x.proxy.snapshot.Load() && x.proxy.trials.closed(a) {
		at.Candidate, at.How = false, routing.Pinned
	}
	return at
}

// joinTrials makes an exchange on a candidate one that can be cut.
func (x *exchange) joinTrials() {
	if x.rescued {
		return
	}
	for i := range x.visit.Parts {
		p := &x.visit.Parts[i]
		if p.Assignment == nil || !p.Candidate {
			continue
		}
		if x.trial == nil {
			x.trial = &trial{}
			x.ctx, x.trial.cancel = context.WithCancelCause(x.ctx)
		}
		x.trial.parts[i] = attemptOf(p.Assignment)
	}
	if x.trial != nil {
		x.proxy.trials.add(x.trial)
	}
}

// leaveTrials takes the exchange off the candidate. Its context ends, if that is not
// replaced.
func (x *exchange) leaveTrials() {
	if x.trial != nil {
		x.proxy.trials.remove(x.trial)
		x.trial.cancel(nil)
		x.trial = nil
	}
}
