package tally

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/stats"
	"crossfade.dev/internal/routing"
)

// patience is how long a server's report is waited for. One that has not reported by
// then never will; then its state is what this gateway knows by itself.
const patience = 15 * time.Second

// Counts returns what has been counted until now. Windows that are over are closed.
func (b *Books) Counts(now time.Time) rollout.Counts {
	var pools map[string][]Endpoint
	if b.opts.Pools != nil {
		pools = b.opts.Pools()
	}
	out := rollout.Counts{Epoch: b.epoch, At: now}
	b.mu.Lock()
	books := slices.Collect(maps.Values(b.books))
	for _, x := range books {
		x.mu.Lock()
		b.forget(x, now)
		x.mu.Unlock()
	}
	b.mu.Unlock()
	for _, x := range books {
		x.mu.Lock()
		if !x.gone {
			x.roll(b.number(now), now)
			out.Rollouts = append(out.Rollouts, x.counts(pools, now))
		}
		b.leave(x)
	}
	slices.SortFunc(out.Rollouts, func(a, b rollout.RolloutCounts) int {
		return cmp.Or(cmp.Compare(a.Rollout, b.Rollout), cmp.Compare(a.Attempt, b.Attempt))
	})
	if b.opts.Warm != nil {
		for i := range out.Rollouts {
			r := &out.Rollouts[i]
			r.Warm, r.Steady = b.opts.Warm(r.Rollout, r.Attempt)
		}
	}
	return out
}

// counts is the book as others see it.
func (b *book) counts(pools map[string][]Endpoint, now time.Time) rollout.RolloutCounts {
	out := rollout.RolloutCounts{Rollout: b.attempt.rollout, Attempt: b.attempt.number, Samples: b.total.samples(), Breaker: b.barred}
	lacking := map[string]bool{}
	for i := range b.splits {
		s := &b.splits[i]
		out.Revision = max(out.Revision, s.Assignment.Revision)
		for _, e := range s.Lacking() {
			lacking[e] = true
		}
	}
	out.NoModel = slices.Sorted(maps.Keys(lacking))
	out.Candidate, out.Stable = b.arm(0, pools, lacking, now), b.arm(1, pools, nil, now)
	return out
}

// arm is the state of one side: 0 for the candidate, 1 for stable.
func (b *book) arm(side int, pools map[string][]Endpoint, lacking map[string]bool, now time.Time) rollout.Arm {
	out := rollout.Arm{Arrivals: b.arrivals[side], InFlight: b.inFlight[side]}
	done := map[string]bool{}
	sum := state{patient: now.Sub(b.since) < patience}
	for i := range b.splits {
		pool, model := b.splits[i].Stable, b.splits[i].StableModel
		if side == 0 {
			pool, model = b.splits[i].Candidate, b.splits[i].CandidateModel
		}
		if pool == nil || done[pool.ID] {
			continue
		}
		done[pool.ID] = true
		sum.add(pool, model, pools[pool.ID], lacking)
	}
	sum.into(&out)
	return out
}

// state adds up endpoints.
type state struct {
	patient                   bool
	pools, asked, reported    int
	ready, running, waitingIn int
	kv                        float64
}

// add adds the pool's endpoints that serve the model. One that has reported nothing
// counts as ready and idle.
func (s *state) add(pool *routing.Pool, model string, known []Endpoint, lacking map[string]bool) {
	s.pools++
	for _, address := range serving(pool, model) {
		if lacking[address] {
			continue
		}
		e := Endpoint{Ready: true}
		if i := slices.IndexFunc(known, func(e Endpoint) bool { return e.Address == address }); i >= 0 {
			e = known[i]
		}
		if pool.Inference {
			s.asked++
		}
		if e.Known {
			s.reported++
			s.running, s.waitingIn, s.kv = s.running+e.Running, s.waitingIn+e.Waiting, s.kv+e.KV
		}
		if e.Ready {
			s.ready++
		}
	}
}

func (s *state) into(out *rollout.Arm) {
	out.Known = s.pools > 0 && (s.reported > 0 || s.asked == 0 || !s.patient)
	if !out.Known {
		return
	}
	out.Ready, out.Running, out.Waiting = s.ready, s.running, s.waitingIn
	if s.reported > 0 {
		out.KV = s.kv / float64(s.reported)
	} else {
		out.Running = int(out.InFlight)
	}
}

// samples is the grid by names; what was never counted is left out.
func (g *grid) samples() map[string]map[string]rollout.Sample {
	out := map[string]map[string]rollout.Sample{}
	for e := range numEvents {
		if t, p := &g.events[e], g.pairs[e]; t[candidate].Units+t[stableA].Units+t[stableB].Units+p.Total() > 0 {
			out[eventNames[e]] = map[string]rollout.Sample{"": {
				Table:  stats.Table{Candidate: t[candidate], Stable: t[stableA].Add(t[stableB])},
				Halves: &rollout.Halves{Table: stats.Table{Candidate: t[stableA], Stable: t[stableB]}},
				Pairs:  p,
			}}
		}
	}
	for m := range numMeasures {
		strata := map[string]rollout.Sample{}
		for i, arms := range g.measures[m] {
			if arms != nil {
				strata[stratumName(m, i)] = sampleOf(arms)
			}
		}
		if len(strata) > 0 {
			out[measureNames[m]] = strata
		}
	}
	return out
}

func sampleOf(arms *[numArms]histogram) rollout.Sample {
	out := rollout.Sample{Candidate: stats.Histogram{}, Stable: stats.Histogram{}, Halves: &rollout.Halves{A: stats.Histogram{}, B: stats.Histogram{}}}
	for arm, into := range [numArms]stats.Histogram{candidate: out.Candidate, stableA: out.Halves.A, stableB: out.Halves.B} {
		for b, n := range arms[arm] {
			if n == 0 {
				continue
			}
			into[b] = n
			if arm != candidate {
				out.Stable[b] += n
			}
		}
	}
	return out
}
