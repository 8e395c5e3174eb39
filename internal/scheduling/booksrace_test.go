package scheduling

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/routing"
)

// TestBooksBalanceConcurrently has 16 goroutines call, wait, give up, retry and end
// while snapshots, scrapes and news come. What the twin knows nobody can know here; but
// every pool is sound whenever it is looked at, and in the end nothing is left.
func TestBooksBalanceConcurrently(t *testing.T) {
	seed := max(1, *seedFlag)
	t.Logf("-seed %d", seed)
	c := &crowd{
		s:     New(Options{Rand: rand.New(rand.NewPCG(seed, 2)), Share: true, Queue: QueueOptions{Calls: 20}}),
		began: time.Unix(1000, 0),
	}
	c.publish(rand.New(rand.NewPCG(seed, 3)))
	var clients, watch sync.WaitGroup
	for g := range uint64(16) {
		r := rand.New(rand.NewPCG(seed, 10+g))
		clients.Go(func() {
			for range 100 {
				c.step(t, r)
			}
		})
	}
	over := make(chan struct{})
	watch.Go(func() { c.watch(t, over) })
	clients.Wait()
	c.waiting.Wait()
	close(over)
	watch.Wait()
	c.s.Retain(snapshotOf(*c.pools.Load()...))
	checkZero(t, c.s)
	if err := errors.Join((&booksTwin{}).compare(c.s), soundScheduler(c.s)); err != nil {
		t.Error(err)
	}
	c.s.Retain(snapshotOf())
	if n := len(c.s.pools) + len(c.s.servers.byAddress); n != 0 {
		t.Errorf("%d pools and servers outlive the snapshot", n)
	}
}

// crowd is what the goroutines share.
type crowd struct {
	s       *Scheduler
	began   time.Time
	ticks   atomic.Int64 // milliseconds since; each look at the clock takes one
	pools   atomic.Pointer[[]*routing.Pool]
	waiting sync.WaitGroup // of those that were offered
}

func (c *crowd) now() time.Time {
	return c.began.Add(time.Duration(c.ticks.Add(1)) * time.Millisecond)
}

func (c *crowd) publish(r *rand.Rand) {
	var pools []*routing.Pool
	for len(pools) == 0 {
		pools = randomPools(r)
	}
	c.pools.Store(&pools)
}

func (c *crowd) step(t *testing.T, r *rand.Rand) {
	switch r.IntN(20) {
	case 0:
		c.change(r)
	case 1, 2:
		c.disturb(r)
	}
	c.client(t, r)
}

// client makes a call and sees it through, with a retry perhaps.
func (c *crowd) client(t *testing.T, r *rand.Rand) {
	pools := *c.pools.Load()
	pool, call := pools[r.IntN(len(pools))], randomCall(r, c.now())
	if r.IntN(3) == 0 {
		c.offer(t, r.Uint64(), call, pool)
		return
	}
	ctx, cancel := context.WithCancel(t.Context())
	if r.IntN(2) == 0 {
		go cancel() // at any moment
	}
	defer cancel()
	for range 3 {
		d, err := c.s.Pick(ctx, call, pool)
		if err != nil {
			c.expect(t, err)
			return
		}
		if !c.use(r, d.Reservation) {
			return
		}
		again := *call
		again.Tried, again.At = append(again.Tried, d.Endpoint.Address), c.now()
		call = &again
	}
}

func (c *crowd) expect(t *testing.T, err error) {
	var full *SaturatedError
	if !errors.Is(err, ErrExhausted) && !errors.Is(err, ErrNoEndpoints) && !errors.Is(err, context.Canceled) && !errors.As(err, &full) {
		t.Error(err)
	}
}

// offer makes a call that is told by another goroutine how its wait ends.
func (c *crowd) offer(t *testing.T, seed uint64, call *Call, pool *routing.Pool) {
	r := rand.New(rand.NewPCG(seed, 0))
	var told atomic.Int32
	c.waiting.Add(1)
	end := func() {
		if told.Add(1) > 1 {
			t.Error("a call was told twice how its wait ended")
			return
		}
		c.waiting.Done()
	}
	d, w, err := c.s.Offer(call, pool, func(d Decision, err error) {
		if err == nil {
			c.use(rand.New(rand.NewPCG(seed, 1)), d.Reservation)
		}
		end()
	})
	switch {
	case w == nil && err == nil:
		c.use(r, d.Reservation)
		end()
	case w == nil:
		c.expect(t, err)
		end()
	case r.IntN(2) == 0 && w.Cancel():
		end()
	}
}

// use ends a reservation, from two sides perhaps, and reports whether it failed.
func (c *crowd) use(r *rand.Rand, reservation *Reservation) (failed bool) {
	failed = r.IntN(5) == 0
	if r.IntN(3) > 0 {
		reservation.FirstToken(c.now())
		reservation.Tokens(r.IntN(500))
	}
	if r.IntN(4) == 0 {
		c.waiting.Go(func() { reservation.End(EndResult{At: c.now()}) })
	}
	reservation.End(EndResult{At: c.now(), Failed: failed})
	return failed
}

// change publishes a snapshot, of which calls come before the scheduler hears of it.
func (c *crowd) change(r *rand.Rand) {
	c.publish(r)
	c.s.Retain(snapshotOf(*c.pools.Load()...))
}

func (c *crowd) disturb(r *rand.Rand) {
	h := &story{s: c.s, now: c.now()}
	switch r.IntN(4) {
	case 0, 1:
		h.scrape(r)
	case 2:
		h.hear(r)
	default:
		h.tell(r)
	}
}

// watch sees that the pools are sound, and gives out what places there are, as those who
// wait do once a second, until over is closed.
func (c *crowd) watch(t *testing.T, over chan struct{}) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return
		case <-tick.C:
			c.look(t)
		}
	}
}

func (c *crowd) look(t *testing.T) {
	c.s.mu.RLock()
	pools := slices.Collect(maps.Values(c.s.pools))
	c.s.mu.RUnlock()
	for _, p := range pools {
		p.mu.Lock()
		if err := soundPool(p); err != nil {
			t.Error(err)
		}
		p.drain(p.seconds(c.now()))
		p.unlock()
	}
}
