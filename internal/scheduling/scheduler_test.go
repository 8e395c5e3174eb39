package scheduling

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

func testPool(id string, addresses ...string) *routing.Pool {
	p := &routing.Pool{ID: id, Inference: true}
	for _, a := range addresses {
		p.Endpoints = append(p.Endpoints, routing.Endpoint{Address: a})
	}
	return p
}

func snapshotOf(pools ...*routing.Pool) *routing.Snapshot {
	s := &routing.Snapshot{Pools: map[string]*routing.Pool{}}
	for _, p := range pools {
		s.Pools[p.ID] = p
	}
	return s
}

// checkZero fails if anything is still booked.
func checkZero(t *testing.T, s *Scheduler) {
	t.Helper()
	for _, p := range s.Stats() {
		for _, e := range p.Endpoints {
			if e.InFlight != 0 || e.PendingTokens != 0 || e.ContextTokens != 0 || e.KVTokens != 0 {
				t.Errorf("%s %s after all have ended: %+v", p.ID, e.Address, e)
			}
		}
	}
	s.servers.mu.Lock()
	defer s.servers.mu.Unlock()
	for address, server := range s.servers.byAddress {
		if n := server.inFlight.Load(); n != 0 {
			t.Errorf("server %s has %d requests after all have ended", address, n)
		}
	}
}

// TestBooksBalance runs random histories: whatever order things happen in,
// nothing counted is ever negative, and nothing is left when all have ended.
func TestBooksBalance(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { randomHistory(t, seed) })
	}
}

func randomHistory(t *testing.T, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	s := New(Options{Rand: r, Share: true, Queue: QueueOptions{Calls: int(seed%3) * 5, For: time.Second}})
	now := time.Unix(1000, 0)
	var open, granted []*Reservation
	var waiting []*Waiting
	waits, answers := 0, 0
	pools := randomPools(r)
	for range 1000 {
		now = now.Add(time.Duration(r.IntN(100)) * time.Millisecond)
		switch r.IntN(10) {
		case 0:
			if r.IntN(20) == 0 {
				old := pools
				pools = randomPools(r)
				s.Retain(snapshotOf(pools...))
				pools = append(pools, old[r.IntN(len(old))]) // a request of an older snapshot
			}
			s.Observe(fmt.Sprintf("e%d", r.IntN(8)), randomMetrics(r, now))
			s.Merge(randomNews(r, s, now), now)
		case 1, 2, 3:
			d, w, err := s.Offer(randomCall(r, now), pools[r.IntN(len(pools))], func(d Decision, err error) {
				answers++
				if err == nil {
					granted = append(granted, d.Reservation)
				}
			})
			var full *SaturatedError
			switch {
			case w != nil:
				waits++
				waiting = append(waiting, w)
			case err == nil:
				open = append(open, d.Reservation)
			case !errors.Is(err, ErrExhausted) && !errors.As(err, &full):
				t.Fatal(err)
			}
			if len(waiting) > 0 && r.IntN(4) == 0 { // a client leaves the queue
				if i := r.IntN(len(waiting)); waiting[i].Cancel() {
					answers++
				}
			}
		default:
			open = disturb(r, now, open)
		}
		open, granted = append(open, granted...), granted[:0]
		checkNonNegative(t, s)
	}
	for len(open) > 0 { // ends let others in
		o := open[0]
		open = open[1:]
		o.End(EndResult{At: now})
		open, granted = append(open, granted...), granted[:0]
	}
	checkZero(t, s)
	s.Retain(snapshotOf())
	if waits != answers {
		t.Errorf("%d calls waited, %d were told how that ended or left", waits, answers)
	}
	if n := len(s.Stats()) + len(s.servers.byAddress); n != 0 {
		t.Errorf("%d pools and servers outlive the snapshot", n)
	}
}

func randomPools(r *rand.Rand) []*routing.Pool {
	var pools []*routing.Pool
	for _, id := range []string{"one", "two"} {
		p := testPool(id)
		for i := range 8 {
			if i == 0 || r.IntN(2) == 0 {
				p.Endpoints = append(p.Endpoints, routing.Endpoint{Address: fmt.Sprintf("e%d", i)})
			}
		}
		pools = append(pools, p)
	}
	return pools
}

// randomNews is another gateway's, now and then of a stranger.
func randomNews(r *rand.Rand, s *Scheduler, now time.Time) News {
	if r.IntN(2) == 0 {
		return s.News(fmt.Sprintf("gateway%d", r.IntN(3)), now)
	}
	return News{Origin: fmt.Sprintf("gateway%d", r.IntN(100)), Pools: []PoolNews{{ID: "one", Endpoints: []EndpointNews{{
		Address: fmt.Sprintf("e%d", r.IntN(10)), Requests: r.IntN(20) - 5, Prefills: r.IntN(20) - 5, Pending: r.IntN(9000) - 100,
		Context: r.IntN(90_000), KV: r.IntN(90_000), Adapters: []string{"lora1", "unknown"}, Blocks: []uint64{r.Uint64(), r.Uint64()},
	}}}}}
}

func randomMetrics(r *rand.Rand, now time.Time) Metrics {
	return Metrics{
		At: now, Waiting: r.IntN(5), Running: r.IntN(20), KVUsage: r.Float64(), Blocks: r.IntN(2) * 1000, BlockSize: 16,
		MaxAdapters: r.IntN(4), ActiveAdapters: []string{fmt.Sprintf("lora%d", r.IntN(6))}, Adapters: []string{"lora0", "lora1"},
	}
}

func randomCall(r *rand.Rand, now time.Time) *Call {
	call := &Call{
		Model: fmt.Sprintf("lora%d", r.IntN(6)), At: now, Explain: r.IntN(4) == 0,
		Priority: r.IntN(3) - 1, Flow: fmt.Sprint(r.IntN(3)),
	}
	if r.IntN(10) > 0 {
		prompt := make([]byte, r.IntN(5000)*(1+11*r.IntN(2)))
		call.Request = &llm.Request{Stream: r.IntN(2) == 0, Prompt: prompt, MaxTokens: r.IntN(100)}
	}
	if r.IntN(3) == 0 {
		call.Tried = []string{fmt.Sprintf("e%d", r.IntN(8))}
	}
	return call
}

// disturb does something to a random reservation, also twice or out of order.
func disturb(r *rand.Rand, now time.Time, open []*Reservation) []*Reservation {
	if len(open) == 0 {
		return open
	}
	i := r.IntN(len(open))
	switch r.IntN(4) {
	case 0:
		open[i].FirstToken(now)
	case 1:
		open[i].Tokens(r.IntN(500))
	case 2:
		usage := llm.Usage{PromptTokens: r.IntN(2000), CompletionTokens: r.IntN(500), Known: r.IntN(2) == 0}
		open[i].End(EndResult{At: now, Failed: r.IntN(5) == 0, Usage: usage})
	case 3:
		open[i].End(EndResult{At: now})
		open[i] = open[len(open)-1]
		open = open[:len(open)-1]
	}
	return open
}

func checkNonNegative(t *testing.T, s *Scheduler) {
	t.Helper()
	for _, p := range s.Stats() {
		for _, e := range p.Endpoints {
			if e.InFlight < 0 || e.PendingTokens < 0 || e.ContextTokens < 0 || e.KVTokens < 0 {
				t.Fatalf("%s %s: %+v", p.ID, e.Address, e)
			}
		}
	}
}

// TestConcurrentUse is for the race detector, and checks that a burst from many
// goroutines is spread as evenly as one from a single goroutine.
func TestConcurrentUse(t *testing.T) {
	s := New(Options{})
	pool := testPool("p", "a", "b", "c", "d")
	now := time.Unix(1000, 0)
	var all sync.Map
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			for range 100 {
				d, err := s.Pick(t.Context(), &Call{Request: &llm.Request{Stream: true}, Model: "m", At: now}, pool)
				if err != nil {
					t.Error(err)
					return
				}
				all.Store(d.Reservation, nil)
				if g == 0 {
					s.Observe("a", Metrics{At: now})
					s.Retain(snapshotOf(pool))
					s.Stats()
				}
			}
		})
	}
	wg.Wait()
	for _, e := range s.Stats()[0].Endpoints {
		if e.InFlight != 400 {
			t.Errorf("%s has %d of 1600 requests, want 400", e.Address, e.InFlight)
		}
	}
	all.Range(func(r, _ any) bool {
		for range 2 {
			wg.Go(func() {
				r := r.(*Reservation)
				r.FirstToken(now)
				r.Tokens(3)
				r.End(EndResult{At: now})
			})
		}
		return true
	})
	wg.Wait()
	checkZero(t, s)
}

func TestNilReservation(t *testing.T) {
	var r *Reservation
	r.FirstToken(time.Time{})
	r.Tokens(1)
	r.End(EndResult{Failed: true})
}

// An address in two pools is one server: each pool sees the other's requests at
// once.
func TestPoolsShareServers(t *testing.T) {
	s := New(Options{})
	now := time.Unix(1000, 0)
	one, two := testPool("one", "a"), testPool("two", "a", "b")
	for range 3 {
		if _, err := s.Pick(t.Context(), &Call{At: now}, one); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		d, err := s.Pick(t.Context(), &Call{At: now}, two)
		if err != nil || d.Endpoint.Address != "b" {
			t.Fatalf("picked %q, %v; a is busy for the other pool", d.Endpoint.Address, err)
		}
	}
	// They are ours, so a scrape that shows them shows nothing new.
	s.Observe("a", Metrics{At: now, Running: 3})
	if got := s.Stats()[0].Endpoints[0].Foreign; got != 0 {
		t.Errorf("%d foreign requests, want 0", got)
	}
}

// TestAllocations: the Reservation is the only allocation of a call.
func TestAllocations(t *testing.T) {
	s := New(Options{})
	pool := testPool("p", "a", "b", "c", "d", "e", "f")
	call := &Call{Request: &llm.Request{Stream: true, Prompt: make([]byte, 10*blockBytes)}, Model: "m", At: time.Unix(1000, 0)}
	n := testing.AllocsPerRun(200, func() {
		d, err := s.Pick(t.Context(), call, pool)
		if err != nil {
			t.Fatal(err)
		}
		d.Reservation.FirstToken(call.At)
		d.Reservation.End(EndResult{At: call.At})
	})
	// The race detector makes sync.Pool drop scratch.
	if n > 3 {
		t.Errorf("%.1f allocations per call, want 1", n)
	}
}

// TestChosenElsewhere: what an external picker chose is booked, not decided.
func TestChosenElsewhere(t *testing.T) {
	s, p := New(Options{}), testPool("p", "a:1", "b:1", "c:1")
	var booked []Decision
	for range 5 {
		d, err := s.Pick(t.Context(), &Call{Chosen: "b:1", At: time.Unix(1, 0)}, p)
		if err != nil || d.Endpoint.Address != "b:1" {
			t.Fatalf("booked %s, %v", d.Endpoint.Address, err)
		}
		booked = append(booked, d)
	}
	if d, err := s.Pick(t.Context(), &Call{At: time.Unix(1, 0)}, p); err != nil || d.Endpoint.Address == "b:1" {
		t.Errorf("five requests in flight there are not seen: %s, %v", d.Endpoint.Address, err)
	} else {
		booked = append(booked, d)
	}
	for _, call := range []Call{{Chosen: "d:1"}, {Chosen: "b:1", Tried: []string{"b:1"}}} {
		if _, err := s.Pick(t.Context(), &call, p); !errors.Is(err, ErrExhausted) {
			t.Errorf("%+v: error is %v", call, err)
		}
	}
	for _, d := range booked {
		d.Reservation.End(EndResult{At: time.Unix(2, 0)})
	}
	checkZero(t, s)
}

// With nothing to do, no call waits: endpoints of equal cost are drawn by lot, and
// neither that nor a call without a prompt makes one full. What is no model server is
// never taken to be.
func TestIdlePoolsHoldNobody(t *testing.T) {
	for _, inference := range []bool{true, false} {
		s := New(Options{Rand: rand.New(rand.NewPCG(1, 1)), Queue: QueueOptions{Calls: 100}})
		pool := &routing.Pool{ID: "x", Inference: inference, Endpoints: []routing.Endpoint{{Address: "a:1"}, {Address: "b:1"}}}
		at := time.Unix(0, 0)
		for i := range 200 {
			d, waiting, err := s.Offer(&Call{At: at}, pool, func(Decision, error) {})
			if err != nil || waiting != nil {
				t.Fatalf("inference %v, call %d: waits %v, %v", inference, i, waiting != nil, err)
			}
			at = at.Add(5 * time.Millisecond)
			d.Reservation.End(EndResult{At: at})
			at = at.Add(50 * time.Millisecond)
		}
	}
}

// Load that others cause ends without an event here; who waits for that looks again.
func TestWaitEndsWithoutAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(Options{Rand: rand.New(rand.NewPCG(1, 1)), Queue: QueueOptions{Calls: 100}})
		pool := &routing.Pool{ID: "x", Inference: true, Endpoints: []routing.Endpoint{{Address: "a:1"}}}
		first, err := s.Pick(t.Context(), &Call{At: time.Now(), Request: &llm.Request{Prompt: []byte("x")}}, pool)
		if err != nil {
			t.Fatal(err)
		}
		first.Reservation.End(EndResult{At: time.Now()})
		s.Observe("a:1", Metrics{At: time.Now(), Waiting: 500, Running: 256, KVUsage: 1})
		if _, waiting, err := s.Offer(&Call{At: time.Now()}, pool, func(Decision, error) {}); err != nil || waiting == nil {
			t.Fatalf("an engine with 500 waiting requests is not full: %v", err)
		} else {
			waiting.Cancel()
		}
		began := time.Now()
		d, err := s.Pick(t.Context(), &Call{At: time.Now()}, pool)
		if err != nil {
			t.Fatalf("after %s: %v", time.Since(began), err)
		}
		if waited := time.Since(began); waited > DefaultStaleAfter+2*lookAgain {
			t.Errorf("waited for %s, while metrics count for %s", waited, DefaultStaleAfter)
		}
		d.Reservation.End(EndResult{At: time.Now()})
	})
}
