package tally

import (
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/stats"
	"crossfade.dev/internal/routing"
)

// modelCall is a model call as it is when it is about to be sent.
func modelCall(stream bool) *llm.Outcome { return &llm.Outcome{Model: "chat", Stream: stream} }

// send has a request begin, and returns it with its ticket.
func send(b *Books, a *routing.Assignment, candidate, stream bool, key string, second float64) Part {
	p := part(a, candidate, key)
	p.Ticket = b.Arrive(p, modelCall(stream), at(second))
	return p
}

// heardOf has stable answer as many requests as must be known, each after a second.
func heardOf(b *Books, a *routing.Assignment, stream bool) {
	for range leastHeard {
		p := send(b, a, false, stream, "", 0)
		b.FirstByte(p, 200, at(1))
		o := outcome(at(2))
		o.Stream = stream
		b.Close(p, o)
	}
}

// TestLateCounts shows that who hangs is counted while it hangs: once, in both arms
// alike, as an error and as slow.
func TestLateCounts(t *testing.T) {
	for name, stream := range map[string]bool{rollout.TTFT: true, rollout.E2E: false} {
		b, a := New(Options{}, noon), watched()
		b.Adopt(snapshotOf(a), noon)
		heardOf(b, a, stream)
		errors := func(second float64) stats.Table {
			return rolloutOf(b.Counts(at(second))).Samples[rollout.ErrorRate][""].Table
		}
		slow := func() (candidate, stable int64) {
			s := rolloutOf(b.Counts(at(60))).Samples[name]["<512"+map[bool]string{false: " whole"}[stream]]
			edge := stats.Bucket(leastLate)
			return s.Candidate.Above(edge - 1).Events, s.Stable.Above(edge - 1).Events
		}
		var hung []Part
		for range 3 {
			hung = append(hung, send(b, a, true, stream, "", 3))
		}
		hung = append(hung, send(b, a, false, stream, "", 3))
		if got, want := errors(30), (stats.Table{Stable: stats.Tally{Units: leastHeard}}); got != want {
			t.Errorf("%s: after 27 s: %+v, want %+v", name, got, want)
		}
		want := stats.Table{Candidate: stats.Tally{Units: 3, Events: 3}, Stable: stats.Tally{Units: leastHeard + 1, Events: 1}}
		if got := errors(35); got != want {
			t.Errorf("%s: after 32 s: %+v, want %+v", name, got, want)
		}
		if got := errors(55); got != want {
			t.Errorf("%s: after 52 s: %+v, want %+v", name, got, want)
		}
		if c, s := slow(); c != 3 || s != 1 {
			t.Errorf("%s: %d and %d are slow, want 3 and 1", name, c, s)
		}
		ends := []*llm.Outcome{outcome(at(56)), ended(at(56), llm.ReasonUpstreamReset), ended(at(56), llm.ReasonClientClosed), outcome(at(56))}
		for i, p := range hung {
			ends[i].Stream = stream
			if !ends[i].FirstByte.IsZero() {
				b.FirstByte(p, 200, at(55))
			}
			b.Close(p, ends[i])
		}
		if got := errors(65); got != want {
			t.Errorf("%s: after their end: %+v, want %+v", name, got, want)
		}
		r := rolloutOf(b.Counts(at(65)))
		if got := r.Samples[rollout.ClientAborts][""].Table.Candidate; got != (stats.Tally{Units: 3, Events: 1}) {
			t.Errorf("%s: what is left of their ends: %+v", name, got)
		}
		if n := len(b.books[attempt{"llm/chat", 3}].waiting); n != 0 || r.Candidate.InFlight != 0 {
			t.Errorf("%s: %d wait for ever, %d are in flight", name, n, r.Candidate.InFlight)
		}
	}
}

// TestHungCandidateIsBarred shows that the breaker hears of requests that do not end,
// and that it forgives a candidate what stable does as well.
func TestHungCandidateIsBarred(t *testing.T) {
	for name, stableToo := range map[string]bool{"candidate": false, "both": true} {
		told := 0
		b, a := New(Options{Barred: func(string, int64, string) { told++ }}, noon), watched()
		b.Adopt(snapshotOf(a), noon)
		heardOf(b, a, true)
		for range 20 {
			send(b, a, true, true, "", 3)
			if stableToo {
				send(b, a, false, true, "", 3)
			}
		}
		b.Counts(at(40))
		if a.Barred() == stableToo || (told == 1) == stableToo {
			t.Errorf("%s: barred %v, told %d times", name, a.Barred(), told)
		}
	}
}

// TestLateIsRelative shows that where stable is slow the candidate may be so, and that
// nothing is late while stable says nothing, of what is no model call or pinned, and
// when the attempt is over.
func TestLateIsRelative(t *testing.T) {
	for name, c := range map[string]struct {
		stable float64 // seconds to stable's first bytes; 0: none come
		change func(*Part, *llm.Outcome, *routing.Assignment)
		want   int64
	}{
		"as usual":       {stable: 1, want: 1},
		"slow":           {stable: 10},
		"silent":         {},
		"no model call":  {stable: 1, change: func(_ *Part, o *llm.Outcome, _ *routing.Assignment) { o.Model = "" }},
		"pinned":         {stable: 1, change: func(p *Part, _ *llm.Outcome, _ *routing.Assignment) { p.How = routing.Pinned }},
		"of another API": {stable: 1, change: func(_ *Part, o *llm.Outcome, _ *routing.Assignment) { o.Stream = false }},
		"not watched":    {stable: 1, change: func(_ *Part, _ *llm.Outcome, a *routing.Assignment) { a.Watched = false }},
	} {
		b, a := New(Options{}, noon), watched()
		b.Adopt(snapshotOf(a), noon)
		for range leastHeard {
			if p := send(b, a, false, true, "", 0); c.stable > 0 {
				b.FirstByte(p, 200, at(c.stable))
			}
		}
		p, o := part(a, true, ""), modelCall(true)
		if c.change != nil {
			c.change(&p, o, a)
		}
		p.Ticket = b.Arrive(p, o, at(10))
		if got := rolloutOf(b.Counts(at(60))).Samples[rollout.ErrorRate][""].Table.Candidate.Events; got != c.want {
			t.Errorf("%s: %d late, want %d", name, got, c.want)
		}
	}
}

// TestLateSession shows that of a session with a key many hung requests are one unit.
func TestLateSession(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	b.Adopt(snapshotOf(a), noon)
	heardOf(b, a, true)
	for range 5 {
		send(b, a, true, true, "ann", 3)
	}
	if got := rolloutOf(b.Counts(at(40))).Samples[rollout.ErrorRate][""].Table.Candidate; got != (stats.Tally{Units: 1, Events: 1}) {
		t.Errorf("one session: %+v", got)
	}
}

// TestWaitsBound shows how long a first byte may take.
func TestWaitsBound(t *testing.T) {
	var w waits
	if _, ok := w.bound(); ok {
		t.Error("a bound of nothing")
	}
	for range 10 * mostHeard {
		w.add(10 * time.Second)
	}
	d, ok := w.bound()
	if low := 80 * time.Second; !ok || d < low || d > low*5/4 || w.n > mostHeard {
		t.Errorf("8 times 10 s are %s, %v, of %d", d, ok, w.n)
	}
	for range mostHeard {
		w.add(time.Hour)
	}
	if d, ok := w.bound(); ok {
		t.Errorf("longer than all that is told apart: %s", d)
	}
}

// TestAbsence shows that a rollout that is in no snapshot for a moment is what it was
// when it comes back, and that its namesake is not taken for it.
func TestAbsence(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	b.Adopt(snapshotOf(a), noon)
	for range 10 {
		p := part(a, true, "")
		b.Arrive(p, nil, noon)
		p.Failed = llm.ReasonUpstreamReset
		b.Failed(p, noon)
		b.Close(p, ended(at(1), p.Failed))
	}
	open := part(a, true, "")
	b.Arrive(open, nil, noon)
	b.Adopt(&routing.Snapshot{}, at(10))
	back := watched()
	b.Adopt(snapshotOf(back), at(60))
	r := rolloutOf(b.Counts(at(60)))
	if got := r.Samples[rollout.ErrorRate][""].Table.Candidate; !back.Barred() || r.Breaker == "" || got.Events != 10 || r.Candidate.Arrivals != 11 {
		t.Errorf("back again: barred %v, %+v", back.Barred(), r)
	}
	namesake := watched()
	namesake.Revision = 1
	b.Adopt(snapshotOf(namesake), at(70))
	b.Close(open, ended(at(70.5), llm.ReasonUpstreamReset))
	r = rolloutOf(b.Counts(at(80)))
	if namesake.Barred() || r.Breaker != "" || len(r.Samples) > 0 || r.Candidate.Arrivals != 0 || r.Candidate.InFlight != 0 {
		t.Errorf("another one of that name: barred %v, %+v", namesake.Barred(), r)
	}
}

// TestNextAttemptForgetsTheLast shows that an attempt need not be remembered once
// there is another.
func TestNextAttemptForgetsTheLast(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	b.Adopt(snapshotOf(a), noon)
	next := watched()
	next.Attempt = 4
	b.Adopt(snapshotOf(next), at(1))
	if c := b.Counts(at(1)); len(c.Rollouts) != 1 || c.Rollouts[0].Attempt != 4 {
		t.Errorf("%+v", c.Rollouts)
	}
}
