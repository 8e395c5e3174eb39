package scheduling

import (
	"errors"
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
