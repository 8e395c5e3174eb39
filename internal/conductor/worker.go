package conductor

import (
	"context"
	"sync"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/translate"
)

// Times of the shell, beside the tick of a plan.
const (
	leastTick = time.Second
	// restTick is the time between readings while nothing is under way: what is
	// known of the endpoints must not be old when something begins.
	restTick = 30 * time.Second
	// retryAfter is when a write that failed is tried again.
	retryAfter = time.Second
	// fresh is how long a share that is not in force yet is looked after each
	// leastTick.
	fresh        = 10 * time.Second
	readTimeout  = 5 * time.Second
	writeTimeout = 10 * time.Second
	// writeEvery is the time between writes that only bring counts and instants up
	// to date: a little less than the usual tick, which is not exact.
	writeEvery = 4500 * time.Millisecond
)

// worker follows one rollout.
type worker struct {
	c         *Conductor
	stop      context.CancelFunc
	providers providers

	box    chan struct{} // there is news
	mu     sync.Mutex
	news   subject
	isNews bool

	// All below is run's alone.

	object    *cfv1a1.InferenceRollout // as last read
	print     string                   // of what the last step was told of it
	followed  *translate.Rollout       // as last followed; nil: never
	blocked   bool                     // it is not followed now
	status    *cfv1a1.InferenceRolloutStatus
	state     *rollout.State   // that status was made of; nil: not read yet
	rescued   bool             // state is not from status.machine, which cannot be read
	base      *rollout.Reading // that the next one is compared with
	wrote     time.Time
	failed    bool   // the last write did
	complaint string // the last one in the log
	warnedOf  string // an annotation that cannot be read
	gone      bool
}

func newWorker(c *Conductor, stop context.CancelFunc) *worker {
	return &worker{c: c, stop: stop, box: make(chan struct{}, 1), providers: providers{asker: c.asker}}
}

// put tells the worker what it is about.
func (w *worker) put(s subject) {
	w.mu.Lock()
	w.news, w.isNews = s, true
	w.mu.Unlock()
	select {
	case w.box <- struct{}{}:
	default:
	}
}

// run steps until ctx ends: when its object changes, and at each reading.
func (w *worker) run(ctx context.Context) {
	defer w.providers.stop()
	readings := make(chan *rollout.Reading, 1)
	due := time.NewTimer(time.Hour)
	defer due.Stop()
	var last time.Time // something was due
	reads := false
	for {
		select {
		case <-ctx.Done():
			if reads {
				<-readings
			}
			return
		case <-w.box:
			if w.take() {
				w.step(ctx, nil)
			}
		case r := <-readings:
			reads = false
			w.step(ctx, r)
		case <-due.C:
			if w.failed {
				w.step(ctx, nil)
			}
			last = time.Now()
			if w.followed != nil && !w.gone && !reads {
				reads = true
				go func(r translate.Rollout) { readings <- w.read(ctx, &r) }(*w.followed)
			}
		}
		due.Reset(w.wait(last, reads))
	}
}

// read reads all gateways, within a bound of time.
func (w *worker) read(ctx context.Context, r *translate.Rollout) *rollout.Reading {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	at := time.Now()
	counts := w.c.o.Gateways.Counts(ctx, r)
	if len(counts) == 0 {
		// Nobody is missing where nobody is: that must not pass for a quiet window.
		counts = map[string]*rollout.Counts{"any gateway": nil}
	}
	return &rollout.Reading{At: at, Gateways: counts}
}

// wait is how long it is until something is to be done without a cause.
func (w *worker) wait(last time.Time, reads bool) time.Duration {
	next := last.Add(w.tick())
	if w.failed {
		next = time.Now().Add(retryAfter)
	} else if reads {
		return time.Hour // the reading's end is bounded
	}
	return max(0, time.Until(next))
}

// tick is the time between two readings.
func (w *worker) tick() time.Duration {
	if w.followed == nil || w.state == nil {
		return restTick
	}
	tick := max(w.followed.Plan.Analysis.Tick, leastTick)
	share := &w.state.Share
	switch {
	case w.resting() && w.state.Hold == "":
		return max(tick, restTick)
	case !share.Verified && time.Since(share.Since) < fresh:
		return leastTick
	}
	return tick
}

// resting reports whether no attempt is under way, or being ended.
func (w *worker) resting() bool {
	switch w.state.Phase {
	case "", rollout.Idle, rollout.Promoted, rollout.Aborted:
		return true
	}
	return false
}

// take takes the news and reports whether they are a reason to step: a status that
// comes back is not.
func (w *worker) take() bool {
	w.mu.Lock()
	s, ok := w.news, w.isNews
	w.news, w.isNews = subject{}, false
	w.mu.Unlock()
	if !ok {
		return false
	}
	w.object, w.blocked, w.gone = s.object, s.accepted == nil, false // it may have been gone for a moment
	if s.accepted != nil {
		w.followed = s.accepted
	} else if w.followed == nil {
		w.followed = w.remembered()
	}
	w.warnOfRequest()
	before := w.print
	w.print = fingerprint(s)
	return w.print != before
}

// remembered is a rollout that is not followed now, though it seems to have been
// before this process began: its object is about the versions that its shares are
// about, and its plan is sound. Otherwise nil.
func (w *worker) remembered() *translate.Rollout {
	o := w.object
	s := o.Status.Shares
	plan, errs := translate.PlanOf(o)
	if len(errs) > 0 || s == nil || plan.Stable != translate.SideName(o.Namespace, s.Stable) || plan.Candidate != translate.SideName(o.Namespace, s.Candidate) {
		return nil
	}
	return &translate.Rollout{Generation: o.Generation, Plan: plan, Object: o}
}
