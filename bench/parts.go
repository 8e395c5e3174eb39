//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// measureRequests sends a fixed number of requests as fast as they are answered and
// reads what processor time they cost the target.
func (r *run) measureRequests(ctx context.Context, t *target) (err error) {
	l, err := newLoad(t.addr, r.connections, t.rewrites)
	if err != nil {
		return err
	}
	f := r.figures[t.name]
	defer func() {
		f.book(l)
		err = errors.Join(err, l.close())
	}()
	// The first requests open connections to engines and warm caches.
	if _, err := l.closedLoop(ctx, max(r.requests/10, r.connections)); err != nil {
		return err
	}
	l.check.seen = [2]int{}
	before, err := processTime(t.proc.pid())
	if err != nil {
		return err
	}
	elapsed, err := l.closedLoop(ctx, r.requests)
	if err != nil {
		return err
	}
	after, err := processTime(t.proc.pid())
	if err != nil {
		return err
	}
	used := after - before
	f.cpuRequest = append(f.cpuRequest, micros(used)/float64(r.requests))
	f.perSecond = append(f.perSecond, float64(r.requests)/elapsed.Seconds())
	f.coreShare = append(f.coreShare, used.Seconds()/elapsed.Seconds())
	return checkShare(l.check.seen)
}

// checkShare fails when the answers are not split as the weights say: a target that
// does not do the work must not be measured. The bounds are wide enough for a draw by
// chance (six standard deviations and one engine's worth of rounding).
func checkShare(seen [2]int) error {
	total := seen[0] + seen[1]
	if total == 0 {
		return errors.New("no right answer at all")
	}
	want := float64(groups()[1].weight) / 100
	got := float64(seen[1]) / float64(total)
	bound := 6*math.Sqrt(want*(1-want)/float64(total)) + 0.01
	if math.Abs(got-want) > bound {
		return fmt.Errorf("%.1f %% of the answers come from %s, not %.0f %%", 100*got, groups()[1].name, 100*want)
	}
	return nil
}

// measureLatency sends requests at a fixed low rate, to each target and straight to
// an engine, in turn.
func (r *run) measureLatency(ctx context.Context) error {
	direct := &target{name: "direct", addr: r.engines[groups()[0].name][0]}
	for round := range r.rounds {
		fmt.Fprintf(r.log, " %d", round+1)
		var nobody figures
		if err := r.latencyOf(ctx, direct, &nobody); err != nil {
			return fmt.Errorf("straight to an engine: %w", errors.Join(err, nobody.firstWrong))
		}
		r.direct.p50 = append(r.direct.p50, nobody.latency.p50...)
		r.direct.p99 = append(r.direct.p99, nobody.latency.p99...)
		for _, t := range r.targets {
			if err := r.latencyOf(ctx, t, r.figures[t.name]); err != nil {
				return t.proc.explain(err)
			}
		}
	}
	return nil
}

func (r *run) latencyOf(ctx context.Context, t *target, f *figures) (err error) {
	l, err := newLoad(t.addr, min(r.connections, 16), t.rewrites)
	if err != nil {
		return err
	}
	defer func() {
		f.book(l)
		err = errors.Join(err, l.close())
	}()
	if _, err := l.closedLoop(ctx, 10*len(l.clients)); err != nil {
		return err
	}
	var took []float64
	l.answered = func(due time.Time) { took = append(took, micros(time.Since(due))) }
	if err := l.paced(ctx, r.rate, r.latencyTime); err != nil {
		return err
	}
	f.latency.p50 = append(f.latency.p50, percentile(took, 0.50))
	f.latency.p99 = append(f.latency.p99, percentile(took, 0.99))
	return nil
}

// measureStreams reads what one event of a stream costs while many streams run.
func (r *run) measureStreams(ctx context.Context, t *target) (err error) {
	l, err := openStreams(ctx, t.addr, r.streams, r.every, t.rewrites)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.run(ctx, r.streamTime/10); err != nil {
		return err
	}
	before, err := processTime(t.proc.pid())
	if err != nil {
		return err
	}
	l.events = 0
	if err := l.run(ctx, r.streamTime); err != nil {
		return err
	}
	after, err := processTime(t.proc.pid())
	if err != nil {
		return err
	}
	if l.events == 0 {
		return errors.New("no event arrived; --stream-time must be longer than --chunk-interval")
	}
	f := r.figures[t.name]
	f.cpuChunk = append(f.cpuChunk, micros(after-before)/float64(l.events))
	return nil
}

// idleInterval is longer than any run: after its first event a stream is idle.
const idleInterval = 30 * time.Minute

// measureIdle starts each target afresh and reads its memory before and while it
// holds streams on which nothing moves.
func (r *run) measureIdle(ctx context.Context) error {
	for _, t := range r.targets {
		fmt.Fprintf(r.log, " %s", t.name)
		if err := r.idleOf(ctx, t); err != nil {
			return t.proc.explain(err)
		}
	}
	return nil
}

func (r *run) idleOf(ctx context.Context, t *target) (err error) {
	if err := t.proc.stop(); err != nil {
		return err
	}
	if err := t.start(ctx, r.dir, r.proxyCPU, r.engines); err != nil {
		return err
	}
	f := r.figures[t.name]
	if f.baseBytes, err = residentBytes(t.proc.pid()); err != nil {
		return err
	}
	l, err := openStreams(ctx, t.addr, r.idleStreams, idleInterval, t.rewrites)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, l.close()) }()
	if err := l.run(ctx, 2*time.Second); err != nil { // let the target come to rest
		return err
	}
	f.idleBytes, err = residentBytes(t.proc.pid())
	return err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
