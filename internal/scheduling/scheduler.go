package scheduling

import (
	"cmp"
	"context"
	"errors"
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
	// DefaultPrefixBytes holds 6 million blocks (430 million tokens); it is
	// taken only as calls need it.
	DefaultPrefixBytes = 256 << 20
)

// Options of a Scheduler; the zero value is usable.
type Options struct {
	// Objective that every pool is scheduled for.
	Objective Objective
	// Queue says how calls wait when all endpoints are full.
	Queue QueueOptions
	// Rand breaks ties; it is used only while New and Pick run and only under
	// a lock. Nil means one seeded at random.
	Rand *rand.Rand
	// StaleAfter is the age from which metrics are ignored; 0 means
	// DefaultStaleAfter.
	StaleAfter time.Duration
	// PrefixBytes bounds the memory of one pool's prefix index; 0 means
	// DefaultPrefixBytes.
	PrefixBytes int
	// Share keeps what News tells to other gateways.
	Share bool
	// Uncalibrated leaves the engine's costs at their priors.
	Uncalibrated bool
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
	urgent  chan struct{} // see Urgent
}

// New returns a Scheduler without any pool; pools come into being as calls
// for them arrive, and with Options.Share as Retain tells of them.
func New(o Options) *Scheduler {
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
		urgent:  make(chan struct{}, 1),
	}
}

// Pick chooses an endpoint of pool for call and reserves it until
// Decision.Reservation.End. With a queue (Options.Queue) it may wait for a
// place until ctx ends; the error then is the context's cause. Others are
// ErrNoEndpoints, ErrExhausted and *SaturatedError. The call must not change
// before Pick returns.
func (s *Scheduler) Pick(ctx context.Context, call *Call, pool *routing.Pool) (Decision, error) {
	decision, w, err := s.offer(call, pool, nil)
	if w == nil {
		return decision, err
	}
	a, err := w.await(ctx, cmp.Or(s.options.Queue.For, DefaultQueueFor))
	if err == nil {
		return a.decision, a.err
	}
	if !w.cancel(ctx.Err() == nil) { // the place came at the same time; the caller will give it back
		a := <-w.answer
		return a.decision, a.err
	}
	return Decision{}, err
}

// lookAgain is how often a call that waits looks for a place by itself. Events give
// places sooner; but load that only others cause ends without one.
const lookAgain = time.Second

// await returns the end of the wait, or an error when ctx or the limit ends first.
func (w *waiter) await(ctx context.Context, limit time.Duration) (grant, error) {
	ends := time.NewTimer(limit)
	defer ends.Stop()
	looks := time.NewTicker(lookAgain)
	defer looks.Stop()
	for since := w.call.At; ; {
		select {
		case a := <-w.answer:
			return a, nil
		case <-ctx.Done():
			return grant{}, context.Cause(ctx)
		case <-ends.C:
			return grant{}, w.late()
		case <-looks.C:
			since = since.Add(lookAgain)
			w.look(since)
		}
	}
}

// look gives out what places there are at an instant.
func (w *waiter) look(at time.Time) {
	w.pool.mu.Lock()
	defer w.pool.unlock()
	w.pool.drain(max(w.pool.seconds(at), w.pool.queue.latest))
}

// Waiting is a call that was offered and has to wait for a place.
type Waiting struct{ waiter *waiter }

// Cancel ends the wait. It returns false when it has ended already: then notify
// has been called or is about to be.
func (w *Waiting) Cancel() bool { return w.waiter.cancel(false) }

// Offer is Pick for those who cannot wait: when the call has to, it returns a
// Waiting, and notify is called once, by whoever makes room, unless Cancel comes
// first. That may be before Offer returns. The call must not change until then.
func (s *Scheduler) Offer(call *Call, pool *routing.Pool, notify func(Decision, error)) (Decision, *Waiting, error) {
	decision, w, err := s.offer(call, pool, notify)
	if w == nil {
		return decision, nil, err
	}
	return decision, &Waiting{w}, err
}

func (s *Scheduler) offer(call *Call, pool *routing.Pool, notify func(Decision, error)) (Decision, *waiter, error) {
	if len(pool.Endpoints) == 0 {
		return Decision{}, nil, ErrNoEndpoints
	}
	scratch := s.hashes.Get().(*[]uint64)
	defer s.hashes.Put(scratch)
	*scratch = (*scratch)[:0]
	if pool.Inference && call.Request != nil {
		*scratch = appendBlockHashes(*scratch, call.Model, call.CacheSalt, call.Request.Prompt)
	}
	for {
		decision, w, err := s.pool(pool.ID).pick(call, pool, *scratch, notify)
		if err != errGivenUp {
			return decision, w, err
		}
	}
}

// errGivenUp: Retain came between finding a pool and its lock.
var errGivenUp = errors.New("the pool has been given up")

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
	return s.add(id)
}

// add makes the state of a pool that has none.
func (s *Scheduler) add(id string) *pool {
	p := newPool(&s.options, &s.servers, rand.New(rand.NewPCG(s.rand.Uint64(), s.rand.Uint64())))
	p.urgent = s.urgent
	s.pools[id] = p
	return p
}

// Observe takes over what the endpoint at address said of itself. Metrics that
// are older than the last ones are ignored.
func (s *Scheduler) Observe(address string, m Metrics) {
	server := s.servers.get(address)
	if !server.observe(m) {
		return
	}
	last := server.last.Load()
	for _, p := range s.servers.usersOf(server) {
		p.observe(address, last)
	}
}

// Latest returns the metrics that the model server at address reported last, also
// before any call of a pool has been there. ok is false when there are none.
func (s *Scheduler) Latest(address string) (m Metrics, ok bool) {
	s.servers.mu.Lock()
	defer s.servers.mu.Unlock()
	if known := s.servers.byAddress[address]; known != nil {
		if last := known.last.Load(); last != nil {
			return last.Metrics, true
		}
	}
	return Metrics{}, false
}

// Retain forgets what is not in the snapshot: pools at once, endpoints when
// their last reservation ends. With Options.Share it makes pools for others' news. Calls that still hold an older snapshot may go
// on using it.
func (s *Scheduler) Retain(snapshot *routing.Snapshot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.options.Share {
		for id, pool := range snapshot.Pools {
			if pool.Inference && s.pools[id] == nil {
				s.add(id)
			}
		}
	}
	for id, p := range s.pools {
		if current := snapshot.Pools[id]; current != nil {
			p.retain(current)
		} else {
			delete(s.pools, id)
			p.close()
		}
	}
	s.servers.retain(snapshot)
}

// Stats returns the state of every pool that there is, by ID.
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
