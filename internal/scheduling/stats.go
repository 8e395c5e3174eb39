package scheduling

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// PoolStats is the state of one pool, for people.
type PoolStats struct {
	ID        string          `json:"id"`
	Picks     uint64          `json:"picks"`
	Endpoints []EndpointStats `json:"endpoints"` // by Address
}

// EndpointStats is the state of one endpoint of a pool.
type EndpointStats struct {
	Address       string    `json:"address"`
	Pod           string    `json:"pod,omitempty"`
	Picks         uint64    `json:"picks"`
	InFlight      int       `json:"inFlight"`      // requests of this pool
	Foreign       int       `json:"foreign"`       // requests of others, by the last scrape
	PendingTokens int       `json:"pendingTokens"` // uncached prompt tokens to be computed
	ContextTokens int       `json:"contextTokens"` // of requests in flight
	Waiting       int       `json:"waiting"`       // requests, by the last scrape
	Running       int       `json:"running"`       // requests, by the last scrape
	KVUsage       float64   `json:"kvUsage"`       // 0 to 1, by the last scrape
	Adapters      []string  `json:"adapters,omitempty"`
	MetricsAt     time.Time `json:"metricsAt,omitzero"` // instant of the last scrape
	Failures      int       `json:"failures"`           // ejections since it was last trusted
	EjectedUntil  time.Time `json:"ejectedUntil,omitzero"`
	Leaving       bool      `json:"leaving,omitempty"` // no longer in the pool, but has requests
}

func (p *pool) stats(id string) PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := PoolStats{ID: id, Picks: p.picks, Endpoints: make([]EndpointStats, 0, len(p.endpoints))}
	for _, e := range p.endpoints {
		out.Endpoints = append(out.Endpoints, e.stats())
	}
	slices.SortFunc(out.Endpoints, func(a, b EndpointStats) int { return strings.Compare(a.Address, b.Address) })
	return out
}

func (e *endpoint) stats() EndpointStats {
	s := EndpointStats{
		Address: e.address, Pod: e.pod, Picks: e.picks,
		InFlight: e.inFlight, PendingTokens: e.pending + int(e.unary.tokens), ContextTokens: e.context,
		Failures: e.health.failures, EjectedUntil: e.health.until, Leaving: e.left,
	}
	for _, a := range e.adapters.list {
		s.Adapters = append(s.Adapters, a.name)
	}
	slices.Sort(s.Adapters)
	if last := e.server.last.Load(); last != nil {
		s.Foreign, s.Waiting, s.Running = last.foreign, last.Waiting, last.Running
		s.KVUsage, s.MetricsAt = last.KVUsage, last.At
	}
	return s
}

// Explanation says how one candidate compared.
type Explanation struct {
	Address string  `json:"address"`
	Dropped string  `json:"dropped,omitempty"` // the filter that set it aside
	Cached  int     `json:"cached"`            // prompt tokens it probably holds
	Seconds float64 `json:"seconds"`           // sum of Scores
	Scores  []Score `json:"scores,omitempty"`
}

// Score is what one scorer added.
type Score struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// String is one line: the address, then the sum and its parts.
func (e Explanation) String() string {
	if e.Dropped != "" {
		return e.Address + " dropped by " + e.Dropped
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %.4fs", e.Address, e.Seconds)
	for _, s := range e.Scores {
		fmt.Fprintf(&b, " %s=%.4f", s.Name, s.Seconds)
	}
	return b.String()
}

// explain repeats the scores of candidates that have been decided on.
func (p *Profile) explain(d *Demand, candidates []Candidate) []Explanation {
	out := make([]Explanation, 0, len(candidates))
	for i := range candidates {
		c := &candidates[i]
		e := Explanation{Address: c.Endpoint.Address, Dropped: c.Dropped, Cached: c.Cached, Seconds: c.Seconds}
		if c.Dropped == "" {
			for _, s := range p.Scorers {
				e.Scores = append(e.Scores, Score{Name: s.Name, Seconds: s.Seconds(d, c)})
			}
		}
		out = append(out, e)
	}
	return out
}
