package scheduling

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/routing"
)

// pool is the state of one pool. Deciding and booking happen under one lock:
// calls of one burst would otherwise all see the same idle endpoint.
type pool struct {
	options *Options
	servers *servers
	weights weights
	name    string // namespace/name, as of the last call

	mu        sync.Mutex
	rand      *rand.Rand
	epoch     time.Time // of the instants in seconds; the first call's
	means     means
	learned   calibration
	engine    engine // by learned
	prompted  recent // of endpoint.prompted
	adapters  adapterNames
	picks     uint64
	endpoints map[string]*endpoint // by address
	current   *routing.Pool        // of the last retain; nil before
	givenUp   bool                 // nothing is to come to it any more
	prefixes  prefixIndex
	sharing   sharing
	slots     slots
	queue     queue
	observed  observed
	// reportsCached: answers tell how much of a prompt was cached. Engines
	// leave that out unless they are told to, and 0 then says nothing.
	reportsCached bool

	peers  map[string]*peer // by origin
	untold []toldBlock      // for the next news
	// untoldTokens of prompts have been sent since the last; urgent asks for one.
	untoldTokens float64
	urgent       chan<- struct{}
	// recalled: others have been asked what they remember of prompts.
	recalled atomic.Bool

	// order holds the endpoints of aligned, in its order.
	aligned *routing.Pool
	order   []*endpoint
	serving map[string][]uint8 // by model: dropped, for each of order
	sound   bool               // none of order is on probation; false when that is not known

	// Scratch of decide.
	dropped []uint8
	bids    []bid
	usual   usual
	free    []int32 // the cheapest, see lot
	full    []int32
	prefix  []uint64 // of the call
	lengths []int32  // by slot
	matched bool     // some of lengths are not 0

	kept   []Explained
	keptAt float64

	granted []grant // to be told of once mu is free
}

func newPool(o *Options, s *servers, r *rand.Rand) *pool {
	p := &pool{
		options: o, servers: s, rand: r, weights: o.Objective.weights(),
		means:     newMeans(),
		learned:   newCalibration(),
		endpoints: map[string]*endpoint{},
		queue:     queue{options: &o.Queue},
	}
	p.engine = newEngine(p.learned.factors)
	return p
}

// unlock frees mu and then tells calls that waited of the places they have.
func (p *pool) unlock() {
	granted := p.granted
	p.granted = nil
	p.mu.Unlock()
	for _, g := range granted {
		g.tell()
	}
}

// seconds turns an instant into seconds since the first one.
func (p *pool) seconds(at time.Time) float64 {
	if p.epoch.IsZero() {
		p.epoch = at
	}
	return at.Sub(p.epoch).Seconds()
}

// instant undoes seconds.
func (p *pool) instant(seconds float64) time.Time {
	return p.epoch.Add(time.Duration(seconds * float64(time.Second)))
}

// align brings order in line with a snapshot's view of the pool. Snapshots
// follow each other slowly, so this is done for few calls.
func (p *pool) align(as *routing.Pool) {
	if p.aligned == as {
		return
	}
	p.aligned, p.name = as, as.Name
	p.order = p.order[:0]
	p.serving, p.sound = nil, false
	var fresh []endpoint // side by side: a decision looks at each of them
	for i := range as.Endpoints {
		e := p.endpoints[as.Endpoints[i].Address]
		if e == nil {
			if len(fresh) == 0 {
				fresh = make([]endpoint, min(64, len(as.Endpoints)-i))
			}
			e, fresh = &fresh[0], fresh[1:]
			p.admit(e, &as.Endpoints[i])
		}
		e.pod = as.Endpoints[i].Pod
		p.order = append(p.order, e)
	}
	for len(p.dropped) < len(p.order) {
		p.dropped = append(p.dropped, 0)
	}
	if as.Inference {
		p.prefixes.grow(p.slots.count)
		p.sizeCaches()
	}
}

// admit makes e the state of a new endpoint of the pool p.aligned.
func (p *pool) admit(e *endpoint, as *routing.Endpoint) {
	e.address, e.server = as.Address, p.servers.join(as.Address, p)
	e.adapters.names = &p.adapters
	e.cache.factor = 1
	e.kvTokens, e.kvShare = assumedKVTokens, 1
	// An older snapshot must not bring back for good what retain let go.
	e.left = p.current != nil && p.current != p.aligned
	// At the start all are new; later, one joins others that are warm. A call may know
	// of it before retain does, and then it has left, so to say.
	e.health.probation = p.picks > 0
	e.slot = p.slots.take()
	if e.slot >= len(p.lengths) {
		p.lengths = append(p.lengths, make([]int32, 64)...) // as many as a word has bits
	}
	p.endpoints[as.Address] = e
	if last := e.server.last.Load(); last != nil {
		p.refresh(e, last)
	}
}

// slots gives endpoints their bits in the prefix index.
type slots struct {
	count int
	free  []int
}

func (s *slots) take() int {
	if last := len(s.free) - 1; last >= 0 {
		slot := s.free[last]
		s.free = s.free[:last]
		return slot
	}
	s.count++
	return s.count - 1
}

// bytesPerBlock bounds what the index takes for a block of an endpoint
// (TestPrefixIndexBytes).
const bytesPerBlock = 40

// sizeCaches tells the prefix index how much each endpoint's cache holds: what
// fits into its KV cache, or its share of the index's memory if that is less.
func (p *pool) sizeCaches() {
	for _, e := range p.order {
		p.sizeCache(e)
	}
}

func (p *pool) sizeCache(e *endpoint) {
	share := p.options.PrefixBytes / bytesPerBlock / max(1, len(p.endpoints))
	blocks := e.cache.factor * e.kvTokens / p.means.blockTokens()
	p.prefixes.resize(e.slot, min(share, int(blocks)))
}

// refresh takes over the metrics of an endpoint's server.
func (p *pool) refresh(e *endpoint, last *scrape) {
	if e.seen == last {
		return
	}
	for _, name := range last.Adapters {
		p.adapters.learn(name)
	}
	at := p.seconds(last.At)
	e.refresh(last, at, at+p.options.StaleAfter.Seconds(), &p.means)
}

// observe takes over new metrics of the server at address, and lets calls that
// wait see what has become free.
func (p *pool) observe(address string, last *scrape) {
	p.mu.Lock()
	defer p.unlock()
	e := p.endpoints[address]
	if e == nil {
		return
	}
	p.refresh(e, last)
	p.drain(p.seconds(last.At))
}

// retain marks endpoints that current lacks and forgets those without
// requests.
func (p *pool) retain(current *routing.Pool) {
	p.mu.Lock()
	defer p.unlock()
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
		if e.left && e.own.requests == 0 {
			p.forget(e)
		}
	}
	if len(current.Endpoints) == 0 {
		p.refuseAll(ErrNoEndpoints)
	} else {
		p.drain(p.queue.latest)
	}
}

// close refuses those who wait; the pool is gone.
func (p *pool) close() {
	p.mu.Lock()
	defer p.unlock()
	p.givenUp = true
	p.refuseAll(ErrNoEndpoints)
	for _, e := range p.endpoints {
		p.servers.leave(e.server, p)
	}
}

// forget drops an endpoint that has left and has no requests.
func (p *pool) forget(e *endpoint) {
	for _, from := range p.peers {
		if e.slot < len(from.told) {
			from.told[e.slot] = told{} // it will be another's
		}
	}
	p.untold = slices.DeleteFunc(p.untold, func(b toldBlock) bool { return b.slot == int32(e.slot) })
	p.prefixes.forget(e.slot)
	p.slots.free = append(p.slots.free, e.slot)
	e.adapters.forget()
	p.servers.leave(e.server, p)
	delete(p.endpoints, e.address)
	p.aligned = nil // order may hold it, for an older snapshot
}
