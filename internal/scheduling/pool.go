package scheduling

import (
	"math/rand/v2"
	"slices"
	"sync"

	"crossfade.dev/internal/routing"
)

// maxAdapterNames bounds the names a pool knows as adapters.
const maxAdapterNames = 4096

// pool is the state of one pool. Deciding and booking happen under one lock:
// calls of one burst would otherwise all see the same idle endpoint.
type pool struct {
	options *Options
	servers *servers

	mu        sync.Mutex
	rand      *rand.Rand
	means     means
	adapters  map[string]struct{} // models known as LoRA adapters
	picks     uint64
	endpoints map[string]*endpoint // by address
	current   *routing.Pool        // of the last retain; nil before
	prefixes  prefixIndex
	slots     slots

	// order holds the endpoints of aligned, in its order.
	aligned *routing.Pool
	order   []*endpoint

	// Scratch of pick.
	demand     Demand
	candidates []Candidate
	lengths    []int32 // by slot
}

func newPool(o *Options, s *servers, r *rand.Rand) *pool {
	return &pool{
		options: o, servers: s, rand: r,
		means:     newMeans(),
		adapters:  map[string]struct{}{},
		endpoints: map[string]*endpoint{},
	}
}

// pick decides and books. prefix holds the hashes of the prompt's blocks.
func (p *pool) pick(call *Call, as *routing.Pool, prefix []uint64) (Decision, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.align(as)
	p.refresh()
	p.match(prefix)
	p.estimate(call)
	p.describe(call, as)
	if len(p.candidates) == 0 {
		return Decision{}, ErrExhausted
	}
	profile := p.options.Profile
	chosen := &p.candidates[profile.decide(&p.demand, p.candidates, p.rand)]
	decision := Decision{Endpoint: *chosen.Endpoint, Reservation: p.reserve(call, chosen)}
	if len(prefix) > 0 {
		p.prefixes.add(prefix, chosen.endpoint.slot)
	}
	if call.Explain {
		decision.Candidates = profile.explain(&p.demand, p.candidates)
	}
	return decision, nil
}

// align brings order in line with a snapshot's view of the pool. Snapshots
// follow each other slowly, so this is done for few calls.
func (p *pool) align(as *routing.Pool) {
	if p.aligned == as {
		return
	}
	p.aligned = as
	p.order = p.order[:0]
	for i := range as.Endpoints {
		p.order = append(p.order, p.endpoint(&as.Endpoints[i]))
	}
	if as.Inference {
		p.growPrefixes()
	}
}

// endpoint returns the state of an endpoint of the pool p.aligned.
func (p *pool) endpoint(as *routing.Endpoint) *endpoint {
	if e := p.endpoints[as.Address]; e != nil {
		e.pod = as.Pod
		return e
	}
	e := &endpoint{address: as.Address, pod: as.Pod, server: p.servers.get(as.Address)}
	// An older snapshot must not bring back for good what retain let go.
	e.left = p.current != nil && p.current != p.aligned
	e.slot = p.slots.take(&p.prefixes)
	if e.slot >= len(p.lengths) {
		p.lengths = append(p.lengths, make([]int32, 64)...) // as many as a word has bits
	}
	p.endpoints[as.Address] = e
	return e
}

// slots gives endpoints their bits in the prefix index.
type slots struct {
	count int
	free  []int
	dirty []int // free, but the index still has blocks of them
}

// take returns a slot that the index has no block of. Cleaning walks the index,
// so it is put off until no clean slot is left and then done for all.
func (s *slots) take(x *prefixIndex) int {
	if len(s.free) == 0 && len(s.dirty) > 0 {
		x.forget(s.dirty)
		s.free, s.dirty = s.dirty, s.free
	}
	if last := len(s.free) - 1; last >= 0 {
		slot := s.free[last]
		s.free = s.free[:last]
		return slot
	}
	s.count++
	return s.count - 1
}

// growPrefixes sizes the prefix index by what the endpoints' caches hold.
func (p *pool) growPrefixes() {
	tokens := 0
	for _, e := range p.order {
		tokens += e.server.last.Load().kvTokens()
	}
	const blockTokens = blockBytes / 4
	p.prefixes.grow(p.slots.count, tokens/blockTokens, p.options.PrefixBytes)
}

// refresh takes over metrics that have come since the last pick.
func (p *pool) refresh() {
	for _, e := range p.order {
		if e.refresh() {
			p.learnAdapters(e.seen.Adapters)
			p.learnAdapters(e.seen.ActiveAdapters)
			p.learnAdapters(e.seen.WaitAdapters)
		}
	}
}

func (p *pool) learnAdapters(names []string) {
	for _, name := range names {
		if len(p.adapters) < maxAdapterNames {
			p.adapters[name] = struct{}{}
		}
	}
}

// match looks up how much of a prompt each endpoint was sent before.
func (p *pool) match(prefix []uint64) {
	clear(p.lengths)
	p.prefixes.match(prefix, p.lengths)
}

// estimate fills demand.
func (p *pool) estimate(call *Call) {
	p.demand = p.means.demand(call)
	_, p.demand.Adapter = p.adapters[call.Model]
}

// describe fills candidates with the endpoints that the call has not tried: all of
// them, or the one that was chosen for it.
func (p *pool) describe(call *Call, as *routing.Pool) {
	d := &p.demand
	oldest := call.At.Add(-p.options.StaleAfter)
	blockTokens := blockBytes / p.means.bytesPerToken()
	p.candidates = p.candidates[:0]
	for i, e := range p.order {
		if len(call.Tried) > 0 && slices.Contains(call.Tried, e.address) {
			continue
		}
		if call.Chosen != "" && call.Chosen != e.address {
			continue
		}
		p.candidates = append(p.candidates, Candidate{Endpoint: &as.Endpoints[i]})
		c := &p.candidates[len(p.candidates)-1]
		e.describe(c, call.At, oldest, &p.means)
		if n := p.lengths[e.slot]; n > 0 {
			c.Cached = max(0, min(int(float64(n)*blockTokens), d.Prompt-1))
		}
		if d.Adapter {
			c.Adapter, c.ActiveAdapters = e.adapters.residency(d.Model, c.fresh)
		}
	}
}

// reserve books the call on the chosen candidate.
func (p *pool) reserve(call *Call, c *Candidate) *Reservation {
	d := &p.demand
	r := &Reservation{pool: p, endpoint: c.endpoint, prompt: d.Prompt, uncached: d.Prompt - c.Cached}
	if call.Request != nil {
		r.promptBytes = len(call.Request.Prompt)
		r.stream = call.Request.Stream
	}
	if d.Adapter {
		r.adapter = d.Model
	}
	p.picks++
	r.book(call.At)
	return r
}

// retain marks endpoints that current lacks and forgets those without
// requests.
func (p *pool) retain(current *routing.Pool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.current = current
	for _, e := range p.endpoints {
		e.left = true
	}
	p.aligned = nil
	p.align(current)
	for _, e := range p.order {
		e.left = false
	}
	for _, e := range p.endpoints {
		if e.left && e.inFlight == 0 {
			p.forget(e)
		}
	}
}

// forget drops an endpoint that has left and has no requests.
func (p *pool) forget(e *endpoint) {
	p.slots.dirty = append(p.slots.dirty, e.slot)
	delete(p.endpoints, e.address)
	p.aligned = nil // order may hold it, for an older snapshot
}
