package scheduling

import (
	"fmt"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// fullPool returns a pool of one endpoint, in which every further call has to wait
// until the one that was booked ends.
func fullPool(t *testing.T, queue int) (*Scheduler, *routing.Pool, *Reservation, time.Time) {
	t.Helper()
	s := New(Options{Queue: QueueOptions{Calls: queue}})
	pool, at := testPool("x", "a:1"), time.Unix(1000, 0)
	d, err := s.Pick(t.Context(), flowCall("first", at), pool)
	if err != nil {
		t.Fatal(err)
	}
	s.Observe("a:1", Metrics{At: at, Running: 1, Blocks: 7, BlockSize: 16})
	return s, pool, d.Reservation, at
}

// flowCall has a prompt of no whole block, for none is to find another in a cache.
func flowCall(flow string, at time.Time) *Call {
	return &Call{Flow: flow, At: at, Request: &llm.Request{Prompt: make([]byte, blockBytes-1), Stream: true}}
}

// Whoever calls names the flow, so what is remembered of flows is bounded, though each
// call has another, and whether the calls are served or give up.
func TestFlowsAreForgotten(t *testing.T) {
	for name, served := range map[string]bool{"served": true, "gave up": false} {
		t.Run(name, func(t *testing.T) {
			s, pool, running, at := fullPool(t, 10)
			var placed []*Reservation
			offer := func(flow string) *Waiting {
				_, w, err := s.Offer(flowCall(flow, at), pool, func(d Decision, err error) {
					if err == nil {
						placed = append(placed, d.Reservation)
					}
				})
				if w == nil {
					t.Fatalf("%s does not wait: %v", flow, err)
				}
				return w
			}
			offer("stays")
			for i := range 5000 {
				w := offer(fmt.Sprint(i))
				if !served {
					w.Cancel()
					continue
				}
				at = at.Add(time.Millisecond)
				running.End(EndResult{At: at})
				if len(placed) == 0 {
					t.Fatal("nobody got the place")
				}
				running, placed = placed[0], placed[1:]
			}
			if err := soundScheduler(s); err != nil {
				t.Error(err)
			}
		})
	}
}

// A flow whose calls gave up before they were served has had nothing, and is not
// behind others for it.
func TestWhoGivesUpOwesNothing(t *testing.T) {
	s, pool, running, at := fullPool(t, 100)
	var order []string
	var last *Reservation
	offer := func(flow string) *Waiting {
		_, w, err := s.Offer(flowCall(flow, at), pool, func(d Decision, err error) {
			if err == nil {
				order, last = append(order, flow), d.Reservation
			}
		})
		if w == nil {
			t.Fatalf("%s does not wait: %v", flow, err)
		}
		return w
	}
	var impatient []*Waiting
	for range 5 {
		impatient = append(impatient, offer("alice"))
	}
	for range 3 {
		offer("bob")
	}
	offer("alice")
	for _, w := range impatient {
		w.Cancel()
	}
	offer("alice")
	for range 5 {
		running.End(EndResult{At: at})
		running = last
		if err := soundScheduler(s); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := fmt.Sprint(order), "[bob alice bob alice bob]"; got != want {
		t.Errorf("served %s, want %s", got, want)
	}
}
