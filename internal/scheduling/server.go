package scheduling

import (
	"sync"
	"sync/atomic"

	"crossfade.dev/internal/routing"
)

// servers are the model servers behind the endpoints of all pools: an address
// that two pools have is one server.
type servers struct {
	mu        sync.Mutex // innermost: nothing else is locked under it
	byAddress map[string]*server
}

func (s *servers) get(address string) *server {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.byAddress[address]
	if found == nil {
		found = &server{}
		s.byAddress[address] = found
	}
	return found
}

// retain forgets servers that the snapshot lacks, but not before their last
// request has ended: should the address come back, they still count.
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
		if !keep[address] && server.inFlight.Load() == 0 {
			delete(s.byAddress, address)
		}
	}
}

// server is what is known of one address, whatever pool it is in.
type server struct {
	inFlight atomic.Int64 // our requests, of all pools
	last     atomic.Pointer[scrape]
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
}

// observe takes over new metrics. Our own requests are counted now, while
// those in the metrics are the engine's: a request that ends in between looks
// foreign until the next scrape, which is the cautious mistake.
func (s *server) observe(m Metrics) {
	for {
		last := s.last.Load()
		if last != nil && !m.At.After(last.At) {
			return
		}
		next := &scrape{Metrics: m}
		total := m.Waiting + m.Running
		next.foreign = max(0, total-int(s.inFlight.Load()))
		if total > 0 {
			next.foreignWaiting = next.foreign * m.Waiting / total
		}
		if last != nil {
			next.slots = fullAt(&last.Metrics, &m)
		}
		if s.last.CompareAndSwap(last, next) {
			return
		}
	}
}

// fullAt returns how many requests an engine runs that had a queue in two
// scrapes and yet did not run more: it is full. One scrape does not tell, for
// a burst of prompts waits a moment even when there is room. 0 means not full.
func fullAt(before, now *Metrics) int {
	if before.Waiting == 0 || now.Waiting == 0 || now.Running > before.Running+before.Running/8 {
		return 0
	}
	return max(1, now.Running)
}
