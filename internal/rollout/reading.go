package rollout

import (
	"maps"
	"slices"
	"time"

	"crossfade.dev/internal/rollout/stats"
)

// A Reading is what all gateways had counted at one instant.
type Reading struct {
	At time.Time
	// Gateways by name: all that should serve now. nil stands for one that could not
	// be read.
	Gateways map[string]*Counts
}

// longestWindow is how long a window may become while a gateway cannot be read. Until
// then nothing is lost: what all of them counted meanwhile is one long window.
const longestWindow = time.Minute

// Base returns the reading that the next one is to be compared with, after now has
// been compared with base: now itself, or base again while a gateway that it knows
// does not answer and all others go on counting. A longer silence ends the wait.
func (base Reading) Base(now Reading) Reading {
	silent := false
	for name, c := range now.Gateways {
		before := base.Gateways[name]
		if before == nil || c != nil && c.Epoch != before.Epoch {
			return now // what it counted before is lost, for whoever waits as well
		}
		silent = silent || c == nil
	}
	if silent && now.At.Sub(base.At) < longestWindow {
		return base
	}
	return now
}

// Observe returns what all gateways counted for one attempt of a rollout from base to
// now. A gateway has to be in both readings, as the same process and with counts that
// have not shrunk, or it is Missing and the window is no use: with a part of it for
// one arm alone the comparison would not be fair. So a gateway that is new, or was
// started again, costs one window, and one that should serve no longer costs nothing.
func (now Reading) Observe(base Reading, rollout string, attempt int64) *Observation {
	g := gathering{window: &Observation{From: base.At, To: now.At}}
	for _, name := range slices.Sorted(maps.Keys(now.Gateways)) {
		g.add(name, base.Gateways[name], now.Gateways[name], rollout, attempt)
	}
	return g.finish()
}

// Breaker says why a gateway sends nothing to the attempt's candidate any more, with
// the gateway's name; "" while all do.
func (now Reading) Breaker(rollout string, attempt int64) string {
	for _, name := range slices.Sorted(maps.Keys(now.Gateways)) {
		if c := now.Gateways[name].of(rollout, attempt); c.Breaker != "" {
			return "gateway " + name + ": " + c.Breaker
		}
	}
	return ""
}

// none are the counts of a gateway that has nothing to do with an attempt.
var none RolloutCounts

// of returns the counts of an attempt.
func (c *Counts) of(rollout string, attempt int64) *RolloutCounts {
	if c != nil {
		for i := range c.Rollouts {
			if r := &c.Rollouts[i]; r.Rollout == rollout && r.Attempt == attempt {
				return r
			}
		}
	}
	return &none
}

// gathering adds up what gateways say.
type gathering struct {
	window   *Observation
	gateways int // that were read
	warm     map[string]int
	unsteady bool
	steady   bool
	unknown  [2]bool // an arm whose state some gateway does not know
}

func (g *gathering) add(name string, before, now *Counts, rollout string, attempt int64) {
	if now == nil {
		g.window.Missing = append(g.window.Missing, name)
		return
	}
	r := now.of(rollout, attempt)
	g.state(r)
	if before == nil || before.Epoch != now.Epoch || !g.grown(before.of(rollout, attempt), r) {
		g.window.Missing = append(g.window.Missing, name)
	}
}

// state takes over how things are now.
func (g *gathering) state(r *RolloutCounts) {
	o := g.window
	if g.gateways == 0 || r.Revision < o.Oldest {
		o.Oldest = r.Revision
	}
	g.merge(0, &o.Candidate, r.Candidate)
	g.merge(1, &o.Stable, r.Stable)
	g.gateways++
	for _, e := range r.NoModel {
		if !slices.Contains(o.NoModel, e) {
			o.NoModel = append(o.NoModel, e)
		}
	}
	for e, n := range r.Warm {
		if g.warm == nil {
			g.warm = map[string]int{}
		}
		g.warm[e] += max(n, 0)
	}
	if len(r.Warm) > 0 {
		g.steady = g.steady || r.Steady
		g.unsteady = g.unsteady || !r.Steady
	}
}

// merge takes over an arm's state. All gateways look at the same engines, so their
// numbers are no parts of a sum: as ready counts what each may send to, and as load
// the most that any has seen. Requests in flight are each gateway's own.
func (g *gathering) merge(arm int, sum *Arm, a Arm) {
	sum.InFlight += max(a.InFlight, 0)
	if !a.Known {
		g.unknown[arm] = true
		return
	}
	if !sum.Known || a.Ready < sum.Ready {
		sum.Ready = max(a.Ready, 0)
	}
	sum.Known = true
	sum.Running, sum.Waiting, sum.KV = max(sum.Running, a.Running), max(sum.Waiting, a.Waiting), max(sum.KV, a.KV)
}

// finish returns the observation.
func (g *gathering) finish() *Observation {
	o := g.window
	o.Candidate.Known = o.Candidate.Known && !g.unknown[0]
	o.Stable.Known = o.Stable.Known && !g.unknown[1]
	o.WarmSteady = g.steady && !g.unsteady
	slices.Sort(o.NoModel)
	first := true
	for _, n := range g.warm {
		if first || n < o.Warm {
			o.Warm, first = n, false
		}
	}
	if len(o.Missing) > 0 {
		o.Samples = nil
	}
	return o
}

// grown adds what a gateway counted between two readings, and reports whether the
// counts are sound. What is added when they are not is thrown away with the window.
func (g *gathering) grown(before, now *RolloutCounts) bool {
	o := g.window
	candidate, stable := now.Candidate.Arrivals-before.Candidate.Arrivals, now.Stable.Arrivals-before.Stable.Arrivals
	if candidate < 0 || stable < 0 {
		return false
	}
	o.Candidate.Arrivals += candidate
	o.Stable.Arrivals += stable
	for metric, strata := range before.Samples {
		for stratum := range strata {
			if _, ok := now.Samples[metric][stratum]; !ok {
				return false // a count that was there has vanished
			}
		}
	}
	for metric, strata := range now.Samples {
		for stratum, s := range strata {
			more, ok := s.since(before.Samples[metric][stratum])
			if !ok {
				return false
			}
			if !more.empty() {
				o.add(metric, stratum, more)
			}
		}
	}
	return true
}

func (o *Observation) add(metric, stratum string, s Sample) {
	if o.Samples == nil {
		o.Samples = map[string]map[string]Sample{}
	}
	if o.Samples[metric] == nil {
		o.Samples[metric] = map[string]Sample{}
	}
	o.Samples[metric][stratum] = o.Samples[metric][stratum].plus(s)
}

func (s Sample) empty() bool {
	return s.Table == stats.Table{} && len(s.Candidate) == 0 && len(s.Stable) == 0 && s.Pairs == Pairs{}
}

// since returns what was counted after an earlier reading; false: that cannot be.
func (s Sample) since(before Sample) (Sample, bool) {
	out := Sample{Table: tableSince(s.Table, before.Table), Pairs: Pairs{
		Worse: s.Pairs.Worse - before.Pairs.Worse, Better: s.Pairs.Better - before.Pairs.Better, Same: s.Pairs.Same - before.Pairs.Same,
	}}
	var sound [4]bool
	out.Candidate, sound[0] = histogramSince(s.Candidate, before.Candidate)
	out.Stable, sound[1] = histogramSince(s.Stable, before.Stable)
	sound[2], sound[3] = true, true
	if s.Halves != nil {
		earlier := Halves{}
		if before.Halves != nil {
			earlier = *before.Halves
		}
		h := &Halves{Table: tableSince(s.Halves.Table, earlier.Table)}
		h.A, sound[2] = histogramSince(s.Halves.A, earlier.A)
		h.B, sound[3] = histogramSince(s.Halves.B, earlier.B)
		if h.Table.Check() != nil {
			return out, false
		}
		out.Halves = h
	}
	ok := out.Table.Check() == nil && min(out.Pairs.Worse, out.Pairs.Better, out.Pairs.Same) >= 0
	return out, ok && sound == [4]bool{true, true, true, true}
}

func tableSince(now, before stats.Table) stats.Table {
	return stats.Table{
		Candidate: stats.Tally{Units: now.Candidate.Units - before.Candidate.Units, Events: now.Candidate.Events - before.Candidate.Events},
		Stable:    stats.Tally{Units: now.Stable.Units - before.Stable.Units, Events: now.Stable.Events - before.Stable.Events},
	}
}

// histogramSince returns the difference, without buckets that are 0.
func histogramSince(now, before stats.Histogram) (stats.Histogram, bool) {
	for bucket, n := range before {
		if now[bucket] < n {
			return nil, false
		}
	}
	var out stats.Histogram
	for bucket, n := range now {
		if more := n - before[bucket]; more != 0 {
			if out == nil {
				out = stats.Histogram{}
			}
			out[bucket] = more
		}
	}
	return out, out.Check()
}

// plus returns the sum of both; s is used up.
func (s Sample) plus(t Sample) Sample {
	s.Table.Candidate = s.Table.Candidate.Add(t.Table.Candidate)
	s.Table.Stable = s.Table.Stable.Add(t.Table.Stable)
	s.Candidate = histogramSum(s.Candidate, t.Candidate)
	s.Stable = histogramSum(s.Stable, t.Stable)
	s.Pairs = Pairs{s.Pairs.Worse + t.Pairs.Worse, s.Pairs.Better + t.Pairs.Better, s.Pairs.Same + t.Pairs.Same}
	if t.Halves != nil {
		if s.Halves == nil {
			s.Halves = &Halves{}
		}
		s.Halves.Table.Candidate = s.Halves.Table.Candidate.Add(t.Halves.Table.Candidate)
		s.Halves.Table.Stable = s.Halves.Table.Stable.Add(t.Halves.Table.Stable)
		s.Halves.A, s.Halves.B = histogramSum(s.Halves.A, t.Halves.A), histogramSum(s.Halves.B, t.Halves.B)
	}
	return s
}

func histogramSum(into, from stats.Histogram) stats.Histogram {
	if into == nil && len(from) > 0 {
		into = stats.Histogram{}
	}
	for bucket, n := range from {
		into[bucket] += n
	}
	return into
}
