package scheduling

import (
	"slices"
	"sync"
	"sync/atomic"

	"crossfade.dev/internal/routing"
)

// servers are the model servers behind the endpoints of all pools: an address
// that two pools have is one server.
type servers struct {
	mu        sync.Mutex // innermost: nothing else is locked under it
	byAddress map[string]*server
	shared    atomic.Bool // some server has been in two pools
}

// server is what is known of one address, whatever pool it is in.
type server struct {
	inFlight atomic.Int64 // our requests, of all pools
	pools    atomic.Int32 // that have it as an endpoint
	last     atomic.Pointer[scrape]
	users    []*pool // guarded by servers.mu
}

func (s *servers) get(address string) *server {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(address)
}

func (s *servers) find(address string) *server {
	found := s.byAddress[address]
	if found == nil {
		found = &server{}
		s.byAddress[address] = found
	}
	return found
}

// join returns the server at address and makes p hear of its metrics.
func (s *servers) join(address string, p *pool) *server {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.find(address)
	found.users = append(found.users, p)
	found.pools.Store(int32(len(found.users)))
	if len(found.users) > 1 {
		s.shared.Store(true)
	}
	return found
}

// leave undoes join.
func (s *servers) leave(left *server, p *pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(left.users, p); i >= 0 {
		left.users = slices.Delete(slices.Clone(left.users), i, i+1)
	}
	left.pools.Store(int32(len(left.users)))
}

// users returns the pools that hear of a server's metrics. The slice is not
// changed later.
func (s *servers) usersOf(of *server) []*pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return of.users[:len(of.users):len(of.users)]
}

// retain forgets servers that the snapshot lacks, but not before their last
// request has ended: should the address come back, they still count. Nor one that a
// call of an older snapshot has just brought back to a pool.
func (s *servers) retain(snapshot *routing.Snapshot) {
	keep := map[string]bool{}
	for _, p := range snapshot.Pools {
		for i := range p.Endpoints {
			keep[p.Endpoints[i].Address] = true
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for address, server := range s.byAddress {
		if !keep[address] && server.inFlight.Load() == 0 && len(server.users) == 0 {
			delete(s.byAddress, address)
		}
	}
}

// scrape is an endpoint's metrics and what they tell beyond our own books. It
// does not change.
type scrape struct {
	Metrics
	// foreign are requests that are not ours: other gateways', or leaks.
	foreign int
	// foreignWaiting of them are queued, if others wait as much as ours do.
	foreignWaiting int
	// slots is how many requests the engine runs at once; 0 unknown.
	slots int
	// capped is for how many scrapes in a row it had a queue and yet ran
	// exactly as many requests as in the one before.
	capped int
}

// cappedFor is after how many of those it is taken to run as many as it can.
// One does not tell: a burst or a long prompt holds the queue up for a moment
// even when there is room.
const cappedFor = 3

// observe takes over new metrics and reports whether they are. Our own requests
// are counted now, while those in the metrics are the engine's: a request that
// ends in between looks foreign until the next scrape, which is the cautious
// mistake.
func (s *server) observe(m Metrics) bool {
	for {
		last := s.last.Load()
		if last != nil && !m.At.After(last.At) {
			return false
		}
		next := &scrape{Metrics: m}
		total := m.Waiting + m.Running
		next.foreign = max(0, total-int(s.inFlight.Load()))
		if total > 0 {
			next.foreignWaiting = next.foreign * m.Waiting / total
		}
		if last != nil {
			next.limit(last)
		}
		if s.last.CompareAndSwap(last, next) {
			return true
		}
	}
}

// limit finds out how many requests the engine runs at once, which is a
// constant that metrics do not show. Queues for want of KV blocks or adapter
// slots are another matter.
func (s *scrape) limit(last *scrape) {
	const kvTight = 0.9
	if s.Running <= last.slots {
		s.slots = last.slots
	}
	if s.Waiting == 0 || last.Waiting == 0 || s.Running != last.Running || s.Running == 0 ||
		len(s.WaitAdapters) > 0 || s.KVUsage > kvTight {
		return
	}
	if s.capped = last.capped + 1; s.capped >= cappedFor {
		s.slots = s.Running
	}
}

// kvTokens returns how many tokens fit into the endpoint's KV cache.
func (s *scrape) kvTokens() float64 {
	if s != nil && s.Blocks > 0 && s.BlockSize > 0 {
		return float64(s.Blocks) * float64(s.BlockSize)
	}
	return assumedKVTokens
}

// refresh takes over the server's last metrics; until is the instant from which
// they are too old.
func (e *endpoint) refresh(s *scrape, at, until float64, m *means) {
	e.seen = s
	f := work{
		requests: float64(s.foreign),
		prefills: float64(s.foreignWaiting),
		pending:  float64(s.foreignWaiting) * m.prompt,
		context:  float64(s.foreign-s.foreignWaiting) * (m.prompt + m.output/2),
	}
	e.kvTokens = s.kvTokens()
	f.kv = max(0, s.KVUsage*e.kvTokens-e.own.kv)
	if at <= e.peersUntil { // those are known in more detail
		p := &e.peers
		f.requests = max(0, f.requests-p.requests)
		f.prefills = max(0, min(f.requests, f.prefills-p.prefills))
		f.pending = f.prefills * m.prompt
		f.context = (f.requests - f.prefills) * (m.prompt + m.output/2)
		// Blocks that several gateways use are counted by each; the engine knows, but
		// not of the prompts that it has not begun.
		theirs := max(0, s.KVUsage*e.kvTokens+e.own.pending+p.pending-e.own.kv)
		f.kv = max(0, theirs-e.toldKV)
		e.kvShare = min(1, theirs/max(1, e.toldKV))
		p.kv = e.kvShare * e.toldKV
	}
	e.foreign, e.foreignUntil = f, until
	e.setOthers()
	e.slots = float64(s.slots)
	e.adapters.refresh(&s.Metrics, at)
}
