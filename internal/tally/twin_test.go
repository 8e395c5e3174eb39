package tally

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/stats"
)

// A call is one finished request, as the twin remembers it.
type call struct {
	number    int // of its window
	session   string
	candidate bool
	facts     facts
}

// twin counts by the rules as they are told, from the list of all calls.
type twin []call

// units returns the tally of an event in an arm, of windows below number.
func (w twin) units(e event, candidate bool, number int) (t stats.Tally) {
	for n := range number {
		bad := map[string]bool{}  // sessions with the event in this window
		seen := map[string]bool{} // sessions that were asked for it
		for _, c := range w {
			if c.number != n || c.candidate != candidate || !c.facts.asked.has(e) || w.failedBefore(c.session, e, n) {
				continue
			}
			id := c.session
			if id == "" {
				t.Units++
				if c.facts.had.has(e) {
					t.Events++
				}
				continue
			}
			seen[id] = true
			bad[id] = bad[id] || c.facts.had.has(e)
		}
		for id := range seen {
			t.Units++
			if bad[id] {
				t.Events++
			}
		}
	}
	return t
}

func (w twin) failedBefore(session string, e event, number int) bool {
	for _, c := range w {
		if session != "" && c.session == session && c.number < number && c.facts.had.has(e) {
			return true
		}
	}
	return false
}

// histogram returns the units of a measure in a stratum, of windows below number.
func (w twin) histogram(m measure, stratum string, candidate bool, number int) stats.Histogram {
	out := stats.Histogram{}
	worst := map[string]int{}
	for _, c := range w {
		if c.number >= number || c.candidate != candidate || c.facts.measured[m] < 0 || stratumName(m, int(c.facts.stratum(m, false))) != stratum {
			continue
		}
		if c.session == "" {
			out.Add(int(c.facts.measured[m]))
			continue
		}
		id := fmt.Sprint(c.number, " ", c.session)
		worst[id] = max(worst[id], int(c.facts.measured[m]))
	}
	for _, b := range worst {
		out.Add(b)
	}
	return out
}

// TestAsCountedByHand compares what the books count of random sessions with a twin
// that knows all calls.
func TestAsCountedByHand(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 5))
		b := New(Options{}, noon)
		a := watched()
		b.Adopt(snapshotOf(a), noon)
		var w twin
		second := 0.0
		for range 200 {
			second += r.ExpFloat64() / 4
			w = append(w, oneCall(r, b, second))
			if r.IntN(20) > 0 {
				continue
			}
			number := int(second / 5)
			compare(t, w, rolloutOf(b.Counts(at(second))), number, seed)
		}
		compare(t, w, rolloutOf(b.Counts(at(second+5))), int(second/5)+1, seed)
		if t.Failed() {
			return
		}
	}
}

// oneCall makes one call and closes it.
func oneCall(r *rand.Rand, b *Books, second float64) call {
	c := call{number: int(second / 5)}
	id := r.IntN(30)
	c.candidate = id%3 == 0
	if id > 3 {
		c.session = fmt.Sprint("session ", id)
	}
	o := outcome(at(second))
	o.Start = at(second - r.ExpFloat64())
	o.Report.FirstToken = o.Start.Add(o.End.Sub(o.Start) / 3)
	o.PromptBytes = r.IntN(5000)
	switch r.IntN(8) {
	case 0:
		o = ended(at(second), llm.ReasonUpstreamReset)
	case 1:
		o.Reason = llm.ReasonClientClosed
	case 2:
		o.Report.FinishReason = "length"
	case 3:
		o.Stream, o.Report.Gaps = false, llm.Gaps{}
	}
	p := part(watched(), c.candidate, c.session)
	c.facts = factsOf(o)
	if c.candidate && r.IntN(10) == 0 {
		p.Failed, p.Rescued = llm.ReasonUpstreamConnect, llm.ReasonUpstreamConnect
		c.facts = rescuedFacts()
	}
	b.Arrive(p, nil, o.Start)
	b.Close(p, o)
	return c
}

func compare(t *testing.T, w twin, got rollout.RolloutCounts, number int, seed uint64) {
	t.Helper()
	for e := range numEvents {
		want := stats.Table{Candidate: w.units(e, true, number), Stable: w.units(e, false, number)}
		s := got.Samples[eventNames[e]][""]
		if s.Table != want {
			t.Fatalf("seed %d: %s after window %d: %+v, want %+v", seed, eventNames[e], number, s.Table, want)
		}
		if s.Halves != nil && s.Halves.Table.Candidate.Add(s.Halves.Table.Stable) != want.Stable {
			t.Fatalf("seed %d: halves of %s do not make a whole: %+v, want %+v", seed, eventNames[e], s.Halves.Table, want.Stable)
		}
	}
	for m := range numMeasures {
		for i := range mostStrata {
			if m != ttft && i >= numLengths {
				continue
			}
			name := stratumName(m, i)
			s := got.Samples[measureNames[m]][name]
			c, st := w.histogram(m, name, true, number), w.histogram(m, name, false, number)
			if len(c)+len(st)+len(s.Candidate)+len(s.Stable) == 0 {
				continue
			}
			if !reflect.DeepEqual(s.Candidate, c) || !reflect.DeepEqual(s.Stable, st) {
				t.Fatalf("seed %d: %s %s after window %d: %v and %v, want %v and %v", seed, measureNames[m], name, number, s.Candidate, s.Stable, c, st)
			}
		}
	}
}
