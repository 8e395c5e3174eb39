package scheduling

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/routing"
)

// Defaults of Options.
const (
	// DefaultStaleAfter is a few scrapes at one per second.
	DefaultStaleAfter = 5 * time.Second
	// DefaultPrefixBytes holds 2 million blocks (130 million tokens) of up to
	// 64 endpoints, 260 thousand of 1,000.
	DefaultPrefixBytes = 64 << 20
)

// Options of a Scheduler; the zero value is usable.
type Options struct {
	// Profile that every pool is scheduled by; nil means Builtin().
	Profile *Profile
	// Rand breaks ties; it is used only while New and Pick run and only under
	// a lock. Nil means one seeded at random.
	Rand *rand.Rand
	// StaleAfter is the age from which metrics are ignored; 0 means
	// DefaultStaleAfter.
	StaleAfter time.Duration
	// PrefixBytes bounds the memory of one pool's prefix index; 0 means
	// DefaultPrefixBytes.
	PrefixBytes int
}

// Scheduler picks endpoints and keeps the books of what they have been given.
// It is safe for concurrent use.
type Scheduler struct {
	options Options
	hashes  sync.Pool // of *[]uint64: scratch for prompts' block hashes

	mu    sync.RWMutex // guards pools and rand; taken before any pool's lock
	pools map[string]*pool
	rand  *rand.Rand

	servers servers
}

// New returns a Scheduler without any pool; pools come into being as calls
// for them arrive.
func New(o Options) *Scheduler {
	if o.Profile == nil {
		builtin := Builtin()
		o.Profile = &builtin
	}
	if o.Rand == nil {
		o.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	o.StaleAfter = cmp.Or(o.StaleAfter, DefaultStaleAfter)
	o.PrefixBytes = cmp.Or(o.PrefixBytes, DefaultPrefixBytes)
	return &Scheduler{
		options: o,
		hashes:  sync.Pool{New: func() any { s := make([]uint64, 0, 64); return &s }},
		pools:   map[string]*pool{},
		rand:    o.Rand,
		servers: servers{byAddress: map[string]*server{}},
	}
}

// Pick chooses an endpoint of pool for call and reserves it until
// Decision.Reservation.End. The error is ErrNoEndpoints or ErrExhausted. It
// never waits, so it does not look at the context.
func (s *Scheduler) Pick(_ context.Context, call *Call, pool *routing.Pool) (Decision, error) {
	if len(pool.Endpoints) == 0 {
		return Decision{}, ErrNoEndpoints
	}
	scratch := s.hashes.Get().(*[]uint64)
	defer s.hashes.Put(scratch)
	*scratch = (*scratch)[:0]
	if pool.Inference && call.Request != nil {
		*scratch = appendBlockHashes(*scratch, call.Model, call.Request.Prompt)
	}
	return s.pool(pool.ID).pick(call, pool, *scratch)
}

// pool returns the state of the pool called id.
func (s *Scheduler) pool(id string) *pool {
	s.mu.RLock()
	p := s.pools[id]
	s.mu.RUnlock()
	if p != nil {
		return p
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pools[id]; p != nil {
		return p
	}
	p = newPool(&s.options, &s.servers, rand.New(rand.NewPCG(s.rand.Uint64(), s.rand.Uint64())))
	s.pools[id] = p
	return p
}

// Observe takes over what the endpoint at address said of itself. Metrics that
// are older than the last ones are ignored.
func (s *Scheduler) Observe(address string, m Metrics) { s.servers.get(address).observe(m) }

// Retain forgets what is not in the snapshot: pools at once, endpoints when
// their last reservation ends. Calls that still hold an older snapshot may go
// on using it.
func (s *Scheduler) Retain(snapshot *routing.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, p := range s.pools {
		if current := snapshot.Pools[id]; current != nil {
			p.retain(current)
		} else {
			delete(s.pools, id)
		}
	}
	s.servers.retain(snapshot)
}

// Stats returns the state of every pool that has had a call, by ID.
func (s *Scheduler) Stats() []PoolStats {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]PoolStats, 0, len(s.pools))
	for id, p := range s.pools {
		out = append(out, p.stats(id))
	}
	slices.SortFunc(out, func(a, b PoolStats) int { return strings.Compare(a.ID, b.ID) })
	return out
}
