package app

import (
	"time"

	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/tally"
)

// newBooks makes the books of rollouts for a plane.
func (p *plane) newBooks() *tally.Books {
	return tally.New(tally.Options{
		Pools: p.endpoints,
		Warm:  p.warmup.Warm,
		Barred: func(rollout string, attempt int64, why string) {
			p.cfg.Log.Warn("candidate gets no more requests from this gateway", "rollout", rollout, "attempt", attempt, "reason", why)
		},
	}, time.Now())
}

// endpoints is what the books are told of endpoints.
func (p *plane) endpoints() map[string][]tally.Endpoint {
	out := map[string][]tally.Endpoint{}
	for _, pool := range p.scheduler.Stats() {
		out[pool.ID] = endpointsOf(pool.Endpoints, time.Now())
	}
	if s := p.proxy.Snapshot(); s != nil {
		for id, pool := range s.Pools {
			if out[id] == nil {
				out[id] = p.untried(pool)
			}
		}
	}
	return out
}

// untried is what is known of a pool that no request has been sent to.
func (p *plane) untried(pool *routing.Pool) []tally.Endpoint {
	out := make([]tally.Endpoint, len(pool.Endpoints))
	for i := range pool.Endpoints {
		address := pool.Endpoints[i].Address
		m, known := p.scheduler.Latest(address)
		out[i] = tally.Endpoint{Address: address, Ready: true, Known: known, Running: m.Running, Waiting: m.Waiting, KV: m.KVUsage}
	}
	return out
}

func endpointsOf(list []scheduling.EndpointStats, now time.Time) []tally.Endpoint {
	out := make([]tally.Endpoint, len(list))
	for i := range list {
		e := &list[i]
		out[i] = tally.Endpoint{
			Address: e.Address, Ready: !e.Leaving && !now.Before(e.EjectedUntil),
			Known: !e.MetricsAt.IsZero(), Running: e.Running, Waiting: e.Waiting, KV: e.KVUsage,
		}
	}
	return out
}

// counts is what this process has counted for rollouts.
func (p *plane) counts() rollout.Counts { return p.books.Counts(time.Now()) }

// barCandidate stops this gateway from sending to the candidate of a rollout.
func (p *plane) barCandidate(namespace, name string) error {
	if err := p.books.Bar(namespace + "/" + name); err != nil {
		return err
	}
	p.cfg.Log.Warn("candidate gets no more requests from this gateway", "rollout", namespace+"/"+name, "reason", "stopped by hand")
	return nil
}

// sharesOf returns the candidate's share in each rollout, 0 to 1.
func sharesOf(splits []tally.Split) map[string]float64 {
	out := map[string]float64{}
	for i := range splits {
		a := splits[i].Assignment
		out[a.Rollout] = float64(a.Share) / routing.Buckets
	}
	return out
}
