package scheduling

import (
	"slices"
	"strings"
	"time"
)

// PoolStats is the state of one pool, for people.
type PoolStats struct {
	ID        string          `json:"id"`
	Picks     uint64          `json:"picks"`
	Name      string          `json:"name"`      // namespace/name
	Waiting   int             `json:"waiting"`   // calls without a place
	Endpoints []EndpointStats `json:"endpoints"` // by Address

	PromptTokens   uint64 `json:"promptTokens"`   // of all picks, estimated
	ExpectedCached uint64 `json:"expectedCached"` // of them, by the prefix index
	// ReportedTokens are the prompt tokens that answers reported, CachedTokens
	// those of them that engines had in their caches.
	ReportedTokens uint64 `json:"reportedTokens"`
	CachedTokens   uint64 `json:"cachedTokens"`
	// Queue is what became of calls that waited; Ejections counts how often an
	// endpoint was ejected.
	Queue     Queued `json:"queue"`
	Ejections uint64 `json:"ejections"`
	// FirstTokens are the times until the first token, by uncached tokens.
	FirstTokens []FirstTokens `json:"firstTokens"`

	// Engine is what calibration found, in multiples of the priors.
	Engine EngineFactors `json:"engine"`
	// IndexBlocks and IndexBytes are the size of the prefix index.
	IndexBlocks int `json:"indexBlocks"`
	IndexBytes  int `json:"indexBytes"`
}

// EngineFactors are how much longer than Qwen3-32B on two H100 a pool's engines
// take, each from 0.3 to 3.
type EngineFactors struct {
	Step    float64 `json:"step"`
	Prefill float64 `json:"prefill"`
	Context float64 `json:"context"`
	Samples int     `json:"samples"`
}

// EndpointStats is the state of one endpoint of a pool.
type EndpointStats struct {
	Address       string    `json:"address"`
	Pod           string    `json:"pod,omitempty"`
	Picks         uint64    `json:"picks"`
	InFlight      int       `json:"inFlight"`      // requests of this pool
	Foreign       int       `json:"foreign"`       // requests of others, by the last scrape
	Peers         int       `json:"peers"`         // requests of other gateways, as they tell
	PendingTokens int       `json:"pendingTokens"` // uncached prompt tokens to be computed
	ContextTokens int       `json:"contextTokens"` // of requests in flight
	KVTokens      int       `json:"kvTokens"`      // of requests in flight, shared ones once
	CacheFactor   float64   `json:"cacheFactor"`   // part of the KV cache believed to keep prompts
	Waiting       int       `json:"waiting"`       // requests, by the last scrape
	Running       int       `json:"running"`       // requests, by the last scrape
	KVUsage       float64   `json:"kvUsage"`       // 0 to 1, by the last scrape
	Adapters      []string  `json:"adapters,omitempty"`
	MetricsAt     time.Time `json:"metricsAt,omitzero"` // instant of the last scrape
	Failures      int       `json:"failures"`           // ejections since it was last trusted
	EjectedUntil  time.Time `json:"ejectedUntil,omitzero"`
	Probation     bool      `json:"probation,omitempty"` // new or back, and given little
	Leaving       bool      `json:"leaving,omitempty"`   // no longer in the pool, but has requests
}

func (p *pool) stats(id string) PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := &p.learned.factors
	out := PoolStats{
		ID: id, Name: p.name, Picks: p.picks, Waiting: p.queue.count,
		Endpoints:    make([]EndpointStats, 0, len(p.endpoints)),
		PromptTokens: p.observed.prompt, ExpectedCached: p.observed.expected,
		ReportedTokens: p.observed.reported, CachedTokens: p.observed.cached,
		FirstTokens: p.observed.firstTokens(),
		Queue: Queued{
			Queued: p.observed.queued, Placed: p.observed.placed, Refused: p.observed.refused, Seconds: p.observed.waited,
		},
		Ejections: p.observed.ejections,
		Engine: EngineFactors{
			Step: f[factorStep], Prefill: f[factorPrefill], Context: f[factorContext], Samples: p.learned.samples,
		},
		IndexBlocks: p.prefixes.pairs, IndexBytes: p.prefixes.bytes(),
	}
	for _, e := range p.endpoints {
		out.Endpoints = append(out.Endpoints, p.endpointStats(e))
	}
	slices.SortFunc(out.Endpoints, func(a, b EndpointStats) int { return strings.Compare(a.Address, b.Address) })
	return out
}

func (p *pool) endpointStats(e *endpoint) EndpointStats {
	s := EndpointStats{
		Address: e.address, Pod: e.pod, Picks: e.picks,
		InFlight: int(e.own.requests), Peers: int(e.peers.requests),
		PendingTokens: int(e.own.pending + e.unary.tokens), ContextTokens: int(e.own.context),
		KVTokens: int(e.own.kv), CacheFactor: e.cache.factor,
		Failures: e.health.failures, Probation: e.health.probation, Leaving: e.left,
	}
	if e.health.failures > 0 {
		s.EjectedUntil = p.instant(e.health.until)
	}
	for _, a := range e.adapters.list {
		s.Adapters = append(s.Adapters, p.adapters.names[a.id])
	}
	slices.Sort(s.Adapters)
	if last := e.server.last.Load(); last != nil {
		s.Foreign, s.Waiting, s.Running = last.foreign, last.Waiting, last.Running
		s.KVUsage, s.MetricsAt = last.KVUsage, last.At
	}
	return s
}
