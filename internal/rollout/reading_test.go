package rollout

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"crossfade.dev/internal/rollout/stats"
)

func readingAt(second int, gateways map[string]*Counts) Reading {
	return Reading{At: time.Unix(int64(second), 0), Gateways: gateways}
}

// counted is what a gateway says of attempt 3 of "llm/chat" after so many requests of
// each arm, all of them units, of which the candidate's failed.
func counted(epoch string, candidate, stable, failed int64) *Counts {
	return &Counts{Epoch: epoch, Rollouts: []RolloutCounts{{
		Rollout: "llm/chat", Attempt: 3, Revision: 7,
		Candidate: Arm{Arrivals: candidate, InFlight: 1, Known: true, Ready: 2, Running: 3, KV: 0.2},
		Stable:    Arm{Arrivals: stable, InFlight: 2, Known: true, Ready: 4, Running: 9, KV: 0.4},
		Samples: map[string]map[string]Sample{ErrorRate: {"": {Table: stats.Table{
			Candidate: stats.Tally{Units: candidate, Events: failed}, Stable: stats.Tally{Units: stable},
		}}}},
	}}}
}

func TestObserve(t *testing.T) {
	changed := func(c *Counts, change func(*RolloutCounts)) *Counts {
		change(&c.Rollouts[0])
		return c
	}
	both := func(a, b *Counts) map[string]*Counts { return map[string]*Counts{"a": a, "b": b} }
	base := func() map[string]*Counts { return both(counted("x", 10, 90, 1), counted("y", 20, 80, 0)) }
	for name, c := range map[string]struct {
		before, now map[string]*Counts
		missing     []string
		want        string // arrivals, errors, in flight, oldest
	}{
		"both count on":              {base(), both(counted("x", 15, 100, 2), counted("y", 20, 85, 0)), nil, "5/15 1 2/4 7"},
		"one cannot be read":         {base(), both(counted("x", 15, 100, 2), nil), []string{"b"}, ""},
		"one was started again":      {base(), both(counted("z", 15, 100, 2), counted("y", 20, 85, 0)), []string{"a"}, ""},
		"one is new":                 {map[string]*Counts{"a": counted("x", 10, 90, 1)}, both(counted("x", 15, 100, 2), counted("y", 20, 85, 0)), []string{"b"}, ""},
		"one could not be read then": {both(counted("x", 10, 90, 1), nil), both(counted("x", 15, 100, 2), counted("y", 20, 85, 0)), []string{"b"}, ""},
		"one is gone":                {base(), map[string]*Counts{"a": counted("x", 15, 100, 2)}, nil, "5/10 1 1/2 7"},
		"nothing happened":           {base(), base(), nil, "0/0 0 2/4 7"},
		"arrivals shrink":            {base(), both(counted("x", 9, 100, 1), counted("y", 20, 85, 0)), []string{"a"}, ""},
		"events shrink":              {base(), both(counted("x", 15, 100, 0), counted("y", 20, 85, 0)), []string{"a"}, ""},
		"an event without its unit":  {base(), both(counted("x", 10, 90, 2), counted("y", 20, 85, 0)), []string{"a"}, ""},
		"a metric vanishes": {base(), both(changed(counted("x", 15, 100, 2), func(r *RolloutCounts) { r.Samples = nil }), counted("y", 20, 85, 0)),
			[]string{"a"}, ""},
		"one serves an older share": {base(), both(changed(counted("x", 15, 100, 2), func(r *RolloutCounts) { r.Revision = 6 }), counted("y", 20, 85, 0)),
			nil, "5/15 1 2/4 6"},
		"one has no part in it": {both(counted("x", 10, 90, 1), &Counts{Epoch: "y"}), both(counted("x", 15, 100, 2), &Counts{Epoch: "y"}), nil, "5/10 1 1/2 0"},
		"one gets a part in it": {both(counted("x", 10, 90, 1), &Counts{Epoch: "y"}), both(counted("x", 15, 100, 2), counted("y", 1, 2, 0)), nil, "6/12 1 2/4 7"},
		"one has another attempt": {both(counted("x", 10, 90, 1), &Counts{Epoch: "y"}),
			both(counted("x", 15, 100, 2), changed(counted("y", 1, 2, 0), func(r *RolloutCounts) { r.Attempt = 2 })), nil, "5/10 1 1/2 0"},
	} {
		t.Run(name, func(t *testing.T) {
			o := readingAt(5, c.now).Observe(readingAt(0, c.before), "llm/chat", 3)
			if !slices.Equal(o.Missing, c.missing) {
				t.Fatalf("missing: %v, want %v", o.Missing, c.missing)
			}
			if len(c.missing) > 0 {
				if o.Samples != nil {
					t.Error("samples of a window that is no use")
				}
				return
			}
			s := o.Samples[ErrorRate][""].Table
			got := fmt.Sprintf("%d/%d %d %d/%d %d", o.Candidate.Arrivals, o.Stable.Arrivals, s.Candidate.Events, o.Candidate.InFlight, o.Stable.InFlight, o.Oldest)
			if got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestObserveState(t *testing.T) {
	a, b := counted("x", 1, 1, 0), counted("y", 1, 1, 0)
	x, y := &a.Rollouts[0], &b.Rollouts[0]
	x.Candidate, y.Candidate = Arm{Known: true, Ready: 3, Running: 5, Waiting: 1, KV: 0.5}, Arm{Known: true, Ready: 2, Running: 8, KV: 0.1}
	x.Stable, y.Stable = Arm{Known: true, Ready: 4}, Arm{}
	x.NoModel, y.NoModel = []string{"e2", "e1"}, []string{"e1"}
	x.Warm, y.Warm = map[string]int{"e1": 3, "e2": 5}, map[string]int{"e1": 4, "e2": 1}
	x.Steady = true
	y.Breaker = "10 requests in a row failed"
	now := readingAt(5, map[string]*Counts{"a": a, "b": b})
	o := now.Observe(now, "llm/chat", 3)
	if want := (Arm{Known: true, Ready: 2, Running: 8, Waiting: 1, KV: 0.5}); o.Candidate != want {
		t.Errorf("candidate: %+v, want %+v", o.Candidate, want)
	}
	if o.Stable.Known {
		t.Error("stable's state is known though one gateway does not know it")
	}
	if want := []string{"e1", "e2"}; !slices.Equal(o.NoModel, want) {
		t.Errorf("no model: %v, want %v", o.NoModel, want)
	}
	if o.Warm != 6 || o.WarmSteady {
		t.Errorf("warm %d, steady %v; want 6 of e2, not steady for one of them", o.Warm, o.WarmSteady)
	}
	if got, want := now.Breaker("llm/chat", 3), "gateway b: 10 requests in a row failed"; got != want {
		t.Errorf("breaker: %q, want %q", got, want)
	}
	if got := now.Breaker("llm/chat", 4); got != "" {
		t.Errorf("breaker of another attempt: %q", got)
	}
}

func TestBase(t *testing.T) {
	a, b := counted("x", 1, 1, 0), counted("y", 1, 1, 0)
	base := readingAt(0, map[string]*Counts{"a": a, "b": b})
	for name, c := range map[string]struct {
		second int
		now    map[string]*Counts
		keep   bool
	}{
		"all answer":                      {5, map[string]*Counts{"a": a, "b": b}, false},
		"one is silent":                   {5, map[string]*Counts{"a": a, "b": nil}, true},
		"one is silent for long":          {60, map[string]*Counts{"a": a, "b": nil}, false},
		"one is gone":                     {5, map[string]*Counts{"a": a}, false},
		"one is silent, one is new":       {5, map[string]*Counts{"a": a, "b": nil, "c": b}, false},
		"one is silent, one is new too":   {5, map[string]*Counts{"a": a, "b": b, "c": nil}, false},
		"one is silent, one began anew":   {5, map[string]*Counts{"a": counted("z", 1, 1, 0), "b": nil}, false},
		"one began anew":                  {5, map[string]*Counts{"a": counted("z", 1, 1, 0), "b": b}, false},
		"the first reading of all":        {5, nil, false},
		"one is silent and one went away": {5, map[string]*Counts{"b": nil}, true},
	} {
		now := readingAt(c.second, c.now)
		if got := base.Base(now); got.At.Equal(base.At) != c.keep {
			t.Errorf("%s: the next base is that of %s", name, got.At.UTC().Format(time.TimeOnly))
		}
	}
}

// replica is a gateway of which all is remembered: every unit with its instant.
type replica struct {
	epoch int
	units []naiveUnit
}

type naiveUnit struct {
	second          int
	candidate, half bool
	event           bool
	metric, stratum string
	bucket          int
}

// counts is what the replica says at an instant.
func (r *replica) counts(second int) *Counts {
	return &Counts{Epoch: fmt.Sprint(r.epoch), Rollouts: []RolloutCounts{{
		Rollout: "llm/chat", Attempt: 3, Revision: 1, Samples: sampled(r.units, -1, second),
		Candidate: Arm{Arrivals: arrivals(r.units, -1, second, true)}, Stable: Arm{Arrivals: arrivals(r.units, -1, second, false)},
	}}}
}

func arrivals(units []naiveUnit, after, until int, candidate bool) (n int64) {
	for _, u := range units {
		if u.second > after && u.second <= until && u.candidate == candidate {
			n++
		}
	}
	return n
}

// sampled counts units after one second until another, one by one.
func sampled(units []naiveUnit, after, until int) map[string]map[string]Sample {
	var out map[string]map[string]Sample
	for _, u := range units {
		if u.second <= after || u.second > until {
			continue
		}
		if out == nil {
			out = map[string]map[string]Sample{}
		}
		if out[u.metric] == nil {
			out[u.metric] = map[string]Sample{}
		}
		s := out[u.metric][u.stratum]
		if s.Halves == nil {
			s.Halves = &Halves{}
		}
		one := func(t *stats.Tally) {
			t.Units++
			if u.event {
				t.Events++
			}
		}
		in := func(h *stats.Histogram) {
			if *h == nil {
				*h = stats.Histogram{}
			}
			h.Add(u.bucket)
		}
		switch {
		case u.metric == TTFT && u.candidate:
			in(&s.Candidate)
		case u.metric == TTFT:
			in(&s.Stable)
			in(map[bool]*stats.Histogram{true: &s.Halves.A, false: &s.Halves.B}[u.half])
		case u.candidate:
			one(&s.Table.Candidate)
		default:
			one(&s.Table.Stable)
			one(map[bool]*stats.Tally{true: &s.Halves.Table.Candidate, false: &s.Halves.Table.Stable}[u.half])
		}
		out[u.metric][u.stratum] = s
	}
	return out
}

// TestObserveAsCountedByHand compares the observations of gateways that come, go,
// fall silent and begin anew with their units counted one by one.
func TestObserveAsCountedByHand(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 11))
		all := map[string]*replica{"a": {}, "b": {}, "c": {}}
		expected := map[string]bool{"a": true, "b": true}
		var base Reading
		baseSecond, bases := -1, map[string]int{} // the epochs of the base
		for second := 0; second < 300; second += 5 {
			now := Reading{At: time.Unix(int64(second), 0), Gateways: map[string]*Counts{}}
			for name, x := range all {
				if r.IntN(40) == 0 {
					*x = replica{epoch: x.epoch + 1}
				}
				if r.IntN(30) == 0 {
					expected[name] = !expected[name]
				}
				for range r.IntN(6) {
					u := naiveUnit{second: second, candidate: r.IntN(2) == 0, half: r.IntN(2) == 0, event: r.IntN(4) == 0, metric: ErrorRate, bucket: r.IntN(9)}
					if r.IntN(2) == 0 {
						u.metric, u.stratum, u.event = TTFT, []string{"a", "b"}[r.IntN(2)], false
					}
					x.units = append(x.units, u)
				}
				if expected[name] {
					now.Gateways[name] = nil
					if r.IntN(12) > 0 {
						now.Gateways[name] = x.counts(second)
					}
				}
			}
			o := now.Observe(base, "llm/chat", 3)
			var units []naiveUnit
			missing := []string{}
			for _, name := range slices.Sorted(maps.Keys(now.Gateways)) {
				epoch, known := bases[name]
				if now.Gateways[name] == nil || !known || epoch != all[name].epoch {
					missing = append(missing, name)
				}
				units = append(units, all[name].units...)
			}
			if !slices.Equal(missing, append([]string{}, o.Missing...)) {
				t.Fatalf("seed %d second %d: missing %v, want %v", seed, second, o.Missing, missing)
			}
			if len(missing) == 0 {
				if want := withoutNothing(sampled(units, baseSecond, second)); !reflect.DeepEqual(withoutNothing(o.Samples), want) {
					t.Fatalf("seed %d second %d: got %v, want %v", seed, second, o.Samples, want)
				}
				if c, s := arrivals(units, baseSecond, second, true), arrivals(units, baseSecond, second, false); o.Candidate.Arrivals != c || o.Stable.Arrivals != s {
					t.Fatalf("seed %d second %d: %d and %d arrivals, want %d and %d", seed, second, o.Candidate.Arrivals, o.Stable.Arrivals, c, s)
				}
			}
			if next := base.Base(now); next.At.Equal(now.At) {
				baseSecond, bases = second, map[string]int{}
				for name, c := range now.Gateways {
					if c != nil {
						bases[name] = all[name].epoch
					}
				}
				base = next
			}
		}
	}
}

// withoutNothing drops samples of nothing, which say the same as their absence.
func withoutNothing(samples map[string]map[string]Sample) map[string]map[string]Sample {
	for metric, strata := range samples {
		maps.DeleteFunc(strata, func(_ string, s Sample) bool { return s.empty() })
		if len(strata) == 0 {
			delete(samples, metric)
		}
	}
	if len(samples) == 0 {
		return nil
	}
	return samples
}
