package tally

import (
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/stats"
)

// The arms. Stable is counted as two halves.
const (
	candidate = iota
	stableA
	stableB
	numArms
)

// histogram is a stats.Histogram as an array.
type histogram [stats.NumBuckets]int64

// grid are counts of everything.
type grid struct {
	events   [numEvents][numArms]stats.Tally
	measures [numMeasures][mostStrata]*[numArms]histogram // nil: none yet
	pairs    [numEvents]rollout.Pairs
}

// histograms returns the histograms of a measure in a stratum.
func (g *grid) histograms(m measure, stratum uint8) *[numArms]histogram {
	h := &g.measures[m][stratum]
	if *h == nil {
		*h = new([numArms]histogram)
	}
	return *h
}

// take adds all of from, and clears it.
func (g *grid) take(from *grid) {
	for e := range from.events {
		for arm := range from.events[e] {
			g.events[e][arm] = g.events[e][arm].Add(from.events[e][arm])
		}
		p, more := &g.pairs[e], from.pairs[e]
		p.Worse, p.Better, p.Same = p.Worse+more.Worse, p.Better+more.Better, p.Same+more.Same
	}
	for m := range from.measures {
		for s, arms := range from.measures[m] {
			if arms == nil {
				continue
			}
			sum := g.histograms(measure(m), uint8(s))
			for arm := range arms {
				for b, n := range arms[arm] {
					sum[arm][b] += n
				}
			}
			*arms = [numArms]histogram{}
		}
	}
	from.events, from.pairs = [numEvents][numArms]stats.Tally{}, [numEvents]rollout.Pairs{}
}

// Limits of what a book remembers of sessions.
const (
	maxSessions = 1 << 15         // in a window
	maxWorst    = 4 * maxSessions // measures of theirs
	maxBad      = 1 << 15         // sessions that had an event, in each of two generations
)

// window counts what happens between two instants.
type window struct {
	grid
	used bool
	// byFresh says that strata tell prompts by what of them was in no cache. It does
	// not change within a window, for then a stratum would mean two things.
	byFresh bool
	// seen are the sessions of the window, with the events they were asked and had.
	seen  map[visitor]account
	worst map[seat]int16
}

// visitor is a session in an arm.
type visitor struct {
	session uint64
	arm     uint8
}

type account struct{ asked, had events }

// seat is where a session's worst measure is counted.
type seat struct {
	session uint64
	arm     uint8
	measure measure
	stratum uint8
}

// request counts a request that is a unit of its own.
func (w *window) request(arm uint8, f *facts) {
	w.used = true
	for e := range numEvents {
		if !f.asked.has(e) {
			continue
		}
		w.events[e][arm].Units++
		if f.had.has(e) {
			w.events[e][arm].Events++
		}
	}
	for m := range numMeasures {
		if b := f.measured[m]; b >= 0 {
			w.histograms(m, f.stratum(m, w.byFresh))[arm][b]++
		}
	}
}

// session counts a request of a session. past remembers which had events before.
func (w *window) session(id uint64, arm uint8, f *facts, past *memory) {
	v := visitor{id, arm}
	a, known := w.seen[v]
	if !known && len(w.seen) >= maxSessions {
		return
	}
	w.used = true
	before := past.of(id)
	after := before
	for e := range numEvents {
		if !f.asked.has(e) {
			continue
		}
		if !a.asked.has(e) {
			if before.has(e) {
				continue
			}
			a.asked.add(e)
			w.events[e][arm].Units++
		}
		if f.had.has(e) && !a.had.has(e) && !before.has(e) {
			a.had.add(e)
			after.add(e)
			w.events[e][arm].Events++
		}
	}
	w.seen[v] = a
	if after != before {
		past.set(id, after)
	}
	for m := range numMeasures {
		if b := f.measured[m]; b >= 0 {
			w.worse(seat{id, arm, m, f.stratum(m, w.byFresh)}, b)
		}
	}
}

// worse counts a session by the worst of what it has seen in this window.
func (w *window) worse(s seat, bucket int16) {
	was, known := w.worst[s]
	switch {
	case !known && len(w.worst) >= maxWorst || known && bucket <= was:
		return
	case known:
		w.histograms(s.measure, s.stratum)[s.arm][was]--
	}
	w.histograms(s.measure, s.stratum)[s.arm][bucket]++
	w.worst[s] = bucket
}

// memory is which sessions have had which events. When it is full it forgets those
// that have not been heard of for longest.
type memory struct{ young, old map[uint64]events }

func newMemory() memory { return memory{map[uint64]events{}, map[uint64]events{}} }

// of returns the events a session has had.
func (m *memory) of(session uint64) events {
	if e, ok := m.young[session]; ok {
		return e
	}
	e, ok := m.old[session]
	if ok {
		m.set(session, e)
	}
	return e
}

func (m *memory) set(session uint64, e events) {
	if _, ok := m.young[session]; !ok && len(m.young) >= maxBad {
		m.young, m.old = m.old, m.young
		clear(m.young)
	}
	m.young[session] = e
}
