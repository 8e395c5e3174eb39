package tally

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/stats"
	"crossfade.dev/internal/routing"
)

// TestWindowsCloseByTime shows that a unit is told when its window is over, and that
// no traffic is needed for that.
func TestWindowsCloseByTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{Window: 5 * time.Second}, time.Now())
		a := watched()
		b.Adopt(snapshotOf(a), time.Now())
		units := func() int64 {
			return rolloutOf(b.Counts(time.Now())).Samples[rollout.ErrorRate][""].Table.Candidate.Units
		}
		time.Sleep(2 * time.Second)
		b.Arrive(part(a, true, ""), nil, time.Now())
		b.Close(part(a, true, ""), outcome(time.Now()))
		if got := rolloutOf(b.Counts(time.Now())).Candidate.Arrivals; got != 1 || units() != 0 {
			t.Errorf("in the window: %d arrivals, %d units; want 1 and 0", got, units())
		}
		time.Sleep(3 * time.Second)
		if got := units(); got != 1 {
			t.Errorf("after the window: %d units, want 1", got)
		}
		time.Sleep(time.Hour)
		if got := units(); got != 1 {
			t.Errorf("an hour later: %d units, want 1", got)
		}
	})
}

// TestPinned shows what of pinned requests counts: that they are in flight.
func TestPinned(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	b.Adopt(snapshotOf(a), noon)
	p := part(a, true, "vip")
	p.How = routing.Pinned
	b.Arrive(p, nil, noon)
	if r := rolloutOf(b.Counts(noon)); r.Candidate.InFlight != 1 || r.Candidate.Arrivals != 0 {
		t.Errorf("pinned: %+v", r.Candidate)
	}
	for range 20 {
		b.Failed(p, noon)
	}
	b.Close(p, outcome(at(1)))
	if r := rolloutOf(b.Counts(at(10))); len(r.Samples) > 0 || r.Candidate.InFlight != 0 || a.Barred() {
		t.Errorf("pinned: %+v, barred %v", r, a.Barred())
	}
}

// TestRescued shows that a rescued request is the candidate's error and nobody's
// answer, and says nothing of another rollout that it has a part in.
func TestRescued(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	b.Adopt(snapshotOf(a), noon)
	p := part(a, true, "")
	p.Failed, p.Rescued = llm.ReasonUpstreamReset, llm.ReasonUpstreamReset
	q := part(&routing.Assignment{Rollout: "llm/other", Attempt: 1, Watched: true}, false, "")
	q.Rescued = p.Rescued
	for _, part := range []Part{p, q, q} {
		b.Arrive(part, nil, noon)
	}
	b.Close(p, outcome(at(1)))
	b.Close(q, outcome(at(1)))
	for _, r := range b.Counts(at(5)).Rollouts {
		got := r.Samples[rollout.ErrorRate][""].Table
		switch {
		case r.Rollout == "llm/other" && len(r.Samples) > 0:
			t.Errorf("the other rollout counted %v", r.Samples)
		case r.Rollout == "llm/chat" && (got != stats.Table{Candidate: stats.Tally{Units: 1, Events: 1}} || len(r.Samples) != 1):
			t.Errorf("rescued: %+v", r.Samples)
		}
	}
}

// TestRescuedIsInFlightOnStable shows where a request is in flight that the candidate
// was relieved of: an abort must not wait for it.
func TestRescuedIsInFlightOnStable(t *testing.T) {
	for name, c := range map[string]struct {
		failed, rescued string
		candidate       bool
		want            [2]int64 // candidate, stable
	}{
		"failed":             {llm.ReasonUpstreamReset, llm.ReasonUpstreamReset, true, [2]int64{0, 1}},
		"cancelled":          {"", llm.ReasonRolloutCancelled, true, [2]int64{0, 1}},
		"another's failure":  {"", llm.ReasonUpstreamReset, true, [2]int64{1, 0}},
		"it was with stable": {"", llm.ReasonUpstreamReset, false, [2]int64{0, 1}},
	} {
		b, a := New(Options{}, noon), watched()
		b.Adopt(snapshotOf(a), noon)
		p := part(a, c.candidate, "")
		b.Arrive(p, nil, noon)
		p.Failed, p.Rescued = c.failed, c.rescued
		b.Rescued(p, noon)
		r := rolloutOf(b.Counts(noon))
		if got := [2]int64{r.Candidate.InFlight, r.Stable.InFlight}; got != c.want {
			t.Errorf("%s: %v in flight, want %v", name, got, c.want)
		}
		b.Close(p, outcome(at(1)))
		r = rolloutOf(b.Counts(at(1)))
		if r.Candidate.InFlight != 0 || r.Stable.InFlight != 0 {
			t.Errorf("%s: %d and %d in flight after the end", name, r.Candidate.InFlight, r.Stable.InFlight)
		}
	}
}

// TestBreakerBars shows that failures in a row stop the candidate at once, in what is
// served and what comes next, until the attempt is over.
func TestBreakerBars(t *testing.T) {
	var told []string
	b := New(Options{Barred: func(rollout string, attempt int64, why string) {
		told = append(told, fmt.Sprint(rollout, attempt, why))
	}}, noon)
	a := watched()
	b.Adopt(snapshotOf(a), noon)
	for range 9 {
		b.Failed(part(a, true, ""), noon)
	}
	if a.Barred() {
		t.Fatal("barred after 9 failures")
	}
	next := watched()
	b.Adopt(snapshotOf(next), noon) // published a moment later
	b.Failed(part(a, true, ""), noon)
	b.Failed(part(a, true, ""), noon)
	if !a.Barred() || !next.Barred() || len(told) != 1 || !strings.Contains(told[0], "10 requests in a row") {
		t.Errorf("barred: %v, next %v, told %q", a.Barred(), next.Barred(), told)
	}
	third := watched()
	b.Adopt(snapshotOf(third), noon)
	if r := rolloutOf(b.Counts(noon)); !third.Barred() || r.Breaker == "" {
		t.Errorf("the next snapshot of the attempt is barred: %v, breaker %q", third.Barred(), r.Breaker)
	}
	over := watched()
	over.Watched = false
	b.Adopt(snapshotOf(over), noon)
	if r := rolloutOf(b.Counts(noon)); over.Barred() || r.Breaker != "" {
		t.Errorf("after the attempt: barred %v, breaker %q", over.Barred(), r.Breaker)
	}
	fresh := watched()
	fresh.Attempt++
	b.Adopt(snapshotOf(fresh), noon)
	if fresh.Barred() {
		t.Error("another attempt is barred")
	}
}

// TestBreakerLooksAtBothArms shows that what fails everywhere is not put down to the
// candidate, wherever stable's failures are heard of.
func TestBreakerLooksAtBothArms(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	b.Adopt(snapshotOf(a), noon)
	for i := range 30 {
		if i%2 == 0 {
			b.FirstByte(part(a, false, ""), 503, noon)
		} else {
			b.Close(part(a, false, ""), ended(noon, llm.ReasonUpstreamConnect))
		}
		b.Failed(part(a, true, ""), noon)
	}
	if a.Barred() {
		t.Error("barred though stable fails as well")
	}
	for range 40 {
		b.FirstByte(part(a, false, ""), 200, noon)
	}
	p := part(a, true, "")
	p.Failed = llm.ReasonUpstreamError
	b.Failed(p, noon)
	b.FirstByte(p, 500, noon)
	if !a.Barred() {
		t.Error("not barred though stable is well")
	}
}

func TestBarByHand(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	if err := b.Bar("llm/chat"); !errors.Is(err, ErrNotRunning) {
		t.Errorf("before it is known: %v", err)
	}
	b.Adopt(snapshotOf(a), noon)
	if err := b.Bar("llm/chat"); err != nil || !a.Barred() {
		t.Errorf("barred %v, %v", a.Barred(), err)
	}
	if r := rolloutOf(b.Counts(noon)); r.Breaker != byHand {
		t.Errorf("breaker: %q", r.Breaker)
	}
	over := watched()
	over.Watched = false
	b.Adopt(snapshotOf(over), noon)
	if err := b.Bar("llm/chat"); !errors.Is(err, ErrNotRunning) || over.Barred() {
		t.Errorf("after the attempt: %v, barred %v", err, over.Barred())
	}
}

// TestForgets shows that an attempt is kept until its last request has ended, and for
// a minute.
func TestForgets(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	b.Adopt(snapshotOf(a), noon)
	b.Arrive(part(a, true, ""), nil, noon)
	b.Adopt(&routing.Snapshot{}, noon)
	if r := rolloutOf(b.Counts(noon)); r.Candidate.InFlight != 1 || r.Revision != 0 {
		t.Errorf("with a request in flight: %+v", r)
	}
	b.Close(part(a, true, ""), outcome(at(1)))
	if c := b.Counts(at(59)); len(c.Rollouts) != 1 {
		t.Errorf("within a minute: %+v", c.Rollouts)
	}
	if c := b.Counts(at(60)); len(c.Rollouts) != 0 {
		t.Errorf("a minute later: %+v", c.Rollouts)
	}
	if len(b.books) != 0 {
		t.Errorf("%d books are kept", len(b.books))
	}
}

// TestFreshStrata shows that prompts are told apart by what was in no cache only while
// both arms report it, and from the next window on.
func TestFreshStrata(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	b.Adopt(snapshotOf(a), noon)
	send := func(candidate bool, cached int, second float64) {
		o := outcome(at(second))
		o.Report.Usage = llm.Usage{Known: true, PromptTokens: 100, CachedTokens: cached}
		b.Close(part(a, candidate, ""), o)
	}
	strata := func(second float64) string {
		var out []string
		s := rolloutOf(b.Counts(at(second))).Samples[rollout.TTFT]
		for i := range mostStrata {
			name := stratumName(ttft, i)
			if x := s[name]; len(x.Candidate)+len(x.Stable) > 0 {
				out = append(out, fmt.Sprintf("%s: %d/%d", name, x.Candidate.Above(0).Units, x.Stable.Above(0).Units))
			}
		}
		return strings.Join(out, ", ")
	}
	send(false, 90, 1)
	send(true, 0, 1)
	send(false, 90, 6)
	send(true, 90, 6)
	if got, want := strata(10), "<512: 2/2"; got != want {
		t.Errorf("before both report: %s, want %s", got, want)
	}
	send(false, 90, 11)
	send(true, 50, 11)
	send(true, 0, 11)
	if got, want := strata(15), "<512 fresh<25%: 0/1, <512 fresh<75%: 1/0, <512: 3/2"; got != want {
		t.Errorf("after: %s, want %s", got, want)
	}
}

// TestSessionThatChangesSides shows that a session has one event of a kind at most,
// also when the share moves it.
func TestSessionThatChangesSides(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	b.Adopt(snapshotOf(a), noon)
	for i, candidate := range []bool{false, true, true} {
		b.Close(part(a, candidate, "u"), ended(at(float64(i)), llm.ReasonUpstreamReset))
	}
	got := rolloutOf(b.Counts(at(5))).Samples[rollout.ErrorRate][""].Table
	if want := (stats.Table{Stable: stats.Tally{Units: 1, Events: 1}}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestBoundedMemory floods the books with sessions that all fail.
func TestBoundedMemory(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	b.Adopt(snapshotOf(a), noon)
	for window := range 4 {
		for i := range maxSessions + 1000 {
			b.Close(part(a, i%2 == 0, fmt.Sprint(window, " ", i)), ended(at(float64(window)*5), llm.ReasonUpstreamReset))
		}
	}
	x := b.book(attempt{"llm/chat", 3}, noon)
	defer x.mu.Unlock()
	if len(x.window.seen) > maxSessions || len(x.window.worst) > maxWorst || len(x.past.young) > maxBad || len(x.past.old) > maxBad {
		t.Errorf("%d sessions, %d measures, %d and %d remembered", len(x.window.seen), len(x.window.worst), len(x.past.young), len(x.past.old))
	}
	if got := x.total.events[errored][candidate].Units; got != 3*maxSessions/2 {
		t.Errorf("%d units, want %d", got, 3*maxSessions/2)
	}
}

func TestPair(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	a.Shadow = &routing.Shadow{MaxTokens: 64}
	long := outcome(at(1))
	long.Report.Tokens, long.Report.FinishReason = 64, "length"
	cut := outcome(at(1))
	cut.Report.FinishReason = "length"
	good, bad := outcome(at(1)), ended(at(1), llm.ReasonUpstreamReset)
	b.Adopt(snapshotOf(a), noon)
	for _, pair := range [][2]*llm.Outcome{
		{good, bad}, {bad, good}, {good, good}, {good, cut}, {good, long}, {long, cut}, {long, bad},
		{good, ended(at(1), llm.ReasonClientClosed)}, {ended(at(1), llm.ReasonClientClosed), bad}, {good, ended(at(1), llm.ReasonOverloaded)},
	} {
		b.Pair(a, pair[0], pair[1], at(1))
	}
	r := rolloutOf(b.Counts(at(5)))
	for metric, want := range map[string]rollout.Pairs{
		rollout.ErrorRate: {Worse: 2, Better: 1, Same: 4}, rollout.FinishLength: {Worse: 1, Same: 1}, rollout.ClientAborts: {}, rollout.TTFT: {},
	} {
		if got := r.Samples[metric][""].Pairs; got != want {
			t.Errorf("%s: %+v, want %+v", metric, got, want)
		}
	}
	if r.Candidate != (rollout.Arm{}) && r.Candidate.Arrivals+r.Candidate.InFlight != 0 {
		t.Errorf("copies count as requests: %+v", r.Candidate)
	}
}

func TestArms(t *testing.T) {
	pools := map[string][]Endpoint{"InferencePool/llm/qwen": {
		{Address: "e1", Ready: true, Known: true, Running: 4, Waiting: 1, KV: 0.5},
		{Address: "e2", Ready: true, Known: true, Running: 2, KV: 0.3},
		{Address: "e3", Known: true},
	}}
	b := New(Options{Pools: func() map[string][]Endpoint { return pools }}, noon)
	b.Adopt(snapshotOf(watched(), routing.Endpoint{Address: "e1", Models: []string{"v1", "v2"}}, routing.Endpoint{Address: "e2", Models: []string{"v1"}}, routing.Endpoint{Address: "e3"}), noon)
	r := rolloutOf(b.Counts(at(1)))
	if want := (rollout.Arm{Known: true, Ready: 1, Running: 4, Waiting: 1, KV: 0.25}); r.Candidate != want {
		t.Errorf("candidate: %+v, want %+v", r.Candidate, want)
	}
	if want := (rollout.Arm{Known: true, Ready: 2, Running: 6, Waiting: 1, KV: 0.8 / 3}); r.Stable != want {
		t.Errorf("stable: %+v, want %+v", r.Stable, want)
	}
	if got := fmt.Sprint(r.NoModel); got != "[e2]" {
		t.Errorf("no model: %s", got)
	}
	// Servers that never report are taken as they are, after a while.
	pools = nil
	if r := rolloutOf(b.Counts(at(1))); r.Candidate.Known {
		t.Errorf("nothing is known yet: %+v", r.Candidate)
	}
	if r := rolloutOf(b.Counts(at(16))); !r.Candidate.Known || r.Candidate.Ready != 2 {
		t.Errorf("servers without a report: %+v", r.Candidate)
	}
}

// TestConcurrently has requests come and go while snapshots and readings do.
func TestConcurrently(t *testing.T) {
	b := New(Options{Window: time.Second}, noon)
	a := watched()
	b.Adopt(snapshotOf(a), noon)
	const workers, requests = 16, 500
	var group sync.WaitGroup
	for n := range workers {
		group.Go(func() {
			for i := range requests {
				p := part(a, i%3 == 0, "")
				if i%2 == 0 {
					p = part(a, i%3 == 0, fmt.Sprint(n, "/", i))
				}
				now := at(float64(i) / 50)
				b.Arrive(p, nil, now)
				b.FirstByte(p, 200, now)
				b.Close(p, outcome(now))
				switch {
				case i%100 == n:
					b.Adopt(&routing.Snapshot{}, now)
				case i%50 == n:
					b.Adopt(snapshotOf(watched()), now)
				case i%20 == n:
					b.Counts(now)
				}
			}
		})
	}
	group.Wait()
	b.Adopt(snapshotOf(a), at(20))
	r := rolloutOf(b.Counts(at(30)))
	if r.Candidate.InFlight != 0 || r.Stable.InFlight != 0 {
		t.Errorf("in flight at the end: %d and %d", r.Candidate.InFlight, r.Stable.InFlight)
	}
	for metric, strata := range r.Samples {
		for stratum, s := range strata {
			if err := s.Table.Check(); err != nil || !s.Candidate.Check() || !s.Stable.Check() {
				t.Errorf("%s %s: %+v", metric, stratum, s)
			}
		}
	}
}

// TestNothingIsLost counts every request when nobody forgets the attempt.
func TestNothingIsLost(t *testing.T) {
	b, a := New(Options{Window: time.Second}, noon), watched()
	b.Adopt(snapshotOf(a), noon)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			for i := range 200 {
				b.Arrive(part(a, i%2 == 0, ""), nil, at(float64(i)/10))
				b.Close(part(a, i%2 == 0, ""), outcome(at(float64(i)/10)))
				if i%40 == 0 {
					b.Counts(at(float64(i) / 10))
				}
			}
		})
	}
	group.Wait()
	r := rolloutOf(b.Counts(at(30)))
	if got, want := r.Samples[rollout.ErrorRate][""].Table, (stats.Table{Candidate: stats.Tally{Units: 1600}, Stable: stats.Tally{Units: 1600}}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if r.Candidate.Arrivals != 1600 || r.Stable.Arrivals != 1600 {
		t.Errorf("arrivals: %d and %d", r.Candidate.Arrivals, r.Stable.Arrivals)
	}
}

func TestNoAllocationPerRequest(t *testing.T) {
	b, a := New(Options{}, noon), watched()
	b.Adopt(snapshotOf(a), noon)
	o := outcome(at(1))
	for _, p := range []Part{part(a, true, ""), part(a, false, "a session")} {
		if n := testing.AllocsPerRun(100, func() {
			p.Ticket = b.Arrive(p, modelCall(true), o.Start)
			b.FirstByte(p, 200, o.Start)
			b.Close(p, o)
		}); n > 0 {
			t.Errorf("%v allocations for a request of %q", n, p.Key)
		}
	}
}

// BenchmarkRequest is what a request costs in the books, of sessions and by chance.
func BenchmarkRequest(b *testing.B) {
	for name, key := range map[string]string{"chance": "", "session": "a session"} {
		b.Run(name, func(b *testing.B) {
			books, a := New(Options{}, noon), watched()
			books.Adopt(snapshotOf(a), noon)
			b.ReportAllocs()
			b.RunParallel(func(run *testing.PB) {
				o, c := outcome(at(1)), modelCall(true)
				for candidate := false; run.Next(); candidate = !candidate {
					p := part(a, candidate, key)
					p.Ticket = books.Arrive(p, c, o.Start)
					books.FirstByte(p, 200, o.FirstByte)
					books.Close(p, o)
				}
			})
		})
	}
}

// BenchmarkCounts is what a reading costs while many wait.
func BenchmarkCounts(b *testing.B) {
	books, a := New(Options{}, noon), watched()
	books.Adopt(snapshotOf(a), noon)
	heardOf(books, a, true)
	for range 10_000 {
		send(books, a, true, true, "", 2)
	}
	b.ReportAllocs()
	for second := 3.0; b.Loop(); second += 5 {
		books.Counts(at(second))
	}
}
