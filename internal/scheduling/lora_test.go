package scheduling

import (
	"fmt"
	"math"
	"testing"
)

// However many calls there are, counts stay finite and keep their proportions;
// names stay within their bound.
func TestAdapterCalls(t *testing.T) {
	var n adapterNames
	for i := range maxAdapterNames + 10 {
		if id := n.learn(fmt.Sprint(i)); (id == noAdapter) != (i >= maxAdapterNames) {
			t.Fatalf("adapter %d has number %d", i, id)
		}
	}
	n = adapterNames{}
	often, seldom, before := n.learn("often"), n.learn("seldom"), n.learn("before")
	for range 1000 {
		n.called(before)
	}
	for i := range 100_000 {
		if n.called(often); i%4 == 0 {
			n.called(seldom)
		}
	}
	if q := n.calls[often] / n.calls[seldom]; math.Abs(q-4) > 1 {
		t.Errorf("four times as many calls count %g times as much", q)
	}
	if n.calls[before] > 1e-6*n.calls[seldom] || math.IsInf(n.calls[often], 0) || math.IsNaN(n.calls[before]) {
		t.Errorf("calls %v", n.calls)
	}
}

// What a load loses grows with the calls for the adapter that has to go, and is 2
// loads at most.
func TestAdapterLoss(t *testing.T) {
	n := adapterNames{slots: 4, at: []int32{1, 1, 1, 2, 1}, calls: []float64{1000, 10, 10, 1000, 0}}
	for _, tt := range []struct {
		victim, id  int32
		loads       float64
		least, most float64
	}{
		{0, 1, 0, 1.9, 2},
		{2, 1, 0, 1, 1},
		{1, 0, 0, 0, 0.1},
		{2, 1, 40, 0.6, 0.7}, // a slot changes hands as often as each is called for
		{3, 1, 0, 0, 0},      // on two endpoints
		{4, 4, 0, 0, 0},      // never called for
		{noAdapter, 1, 0, 0, 0},
	} {
		n.loads = tt.loads
		if got := n.loss(tt.victim, tt.id); got < tt.least || got > tt.most {
			t.Errorf("%+v: %g", tt, got)
		}
	}
}

// The counts over all endpoints are those of their lists, whatever happens.
func TestAdapterCounts(t *testing.T) {
	var n adapterNames
	endpoints := [3]adapters{{names: &n}, {names: &n}, {names: &n}}
	for i := range 20 {
		n.learn(fmt.Sprint(i))
	}
	for i := range 2000 {
		at, id := float64(i), int32(i*7919%20)
		s := &endpoints[i%3]
		switch i * 31 % 11 {
		case 0:
			s.refresh(&Metrics{MaxAdapters: i % 5, ActiveAdapters: []string{fmt.Sprint(id)}}, at)
		case 1:
			s.forget()
		case 2, 3:
			for j := range s.list {
				if s.list[j].inFlight > 0 {
					s.release(s.list[j].id, false, at)
				}
			}
		default:
			s.book(id, at)
		}
		want, slots := make([]int32, 20), 0
		for e := range endpoints {
			slots += endpoints[e].slots
			for _, a := range endpoints[e].list {
				want[a.id]++
			}
		}
		if fmt.Sprint(want) != fmt.Sprint(n.at) || slots != n.slots {
			t.Fatalf("step %d: %v in %d slots, counted %v in %d", i, want, slots, n.at, n.slots)
		}
	}
}

// A decision looks at every endpoint: no look may allocate.
func TestAdapterLookAllocatesNothing(t *testing.T) {
	p := newPool(&Options{}, nil, nil)
	s := adapters{names: &p.adapters, slots: 4}
	d := demand{output: 100, adapter: p.adapters.learn("call")}
	for i := range 4 {
		id := p.adapters.learn(fmt.Sprint(i))
		p.adapters.called(id)
		s.book(id, float64(i))
		s.release(id, false, float64(i))
	}
	if n := testing.AllocsPerRun(100, func() {
		p.adapters.called(d.adapter)
		if seconds, waits := p.loraSeconds(&d, &s, &work{requests: 3}, true); seconds <= adapterLoadSeconds || waits {
			t.Fatal(seconds, waits)
		}
	}); n > 0 {
		t.Errorf("%g allocations", n)
	}
}
