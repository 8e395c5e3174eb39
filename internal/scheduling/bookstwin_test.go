package scheduling

import (
	"fmt"
	"maps"
	"math"
	"slices"
)

// booksTwin is the books of a Scheduler written to be obviously right: a list of the
// reservations that have not ended, summed up anew whenever somebody asks.
type booksTwin struct {
	booked []*booking // in the order in which they were made
}

// booking is what the twin knows of one reservation: what was fixed when it was made,
// and what has happened to it since.
type booking struct {
	*Reservation
	hasAnswered bool
	tokens      float64
}

func (w *booksTwin) book(r *Reservation) *booking {
	b := &booking{Reservation: r}
	w.booked = append(w.booked, b)
	return b
}

func (w *booksTwin) end(b *booking) {
	w.booked = slices.DeleteFunc(w.booked, func(other *booking) bool { return other == b })
}

func (b *booking) report(n float64) { b.tokens = max(b.tokens, n) }

// at returns the bookings of an endpoint.
func (w *booksTwin) at(p *pool, e *endpoint) (at []*booking) {
	for _, b := range w.booked {
		if b.pool == p && b.endpoint == e {
			at = append(at, b)
		}
	}
	return at
}

// pools returns those of the scheduler, and those that are gone but have bookings.
func (w *booksTwin) pools(s *Scheduler) map[*pool]bool {
	out := map[*pool]bool{}
	for _, p := range s.pools {
		out[p] = true
	}
	for _, b := range w.booked {
		out[b.pool] = true
	}
	return out
}

// compare returns where the scheduler's books differ from the twin's.
func (w *booksTwin) compare(s *Scheduler) error {
	servers := map[*server]int{}
	for p := range w.pools(s) {
		used := map[sharedBlock]int32{}
		for _, e := range p.endpoints {
			at := w.at(p, e)
			servers[e.server] += len(at)
			if err := compareEndpoint(e, at, used); err != nil {
				return fmt.Errorf("%s of %p: %w", e.address, p, err)
			}
		}
		if !maps.Equal(used, p.sharing.used) {
			return fmt.Errorf("%d blocks are in use, %d in the books", len(used), len(p.sharing.used))
		}
	}
	for server, n := range servers {
		if got := server.inFlight.Load(); got != int64(n) {
			return fmt.Errorf("a server has %d requests, %d in the books", n, got)
		}
	}
	return nil
}

func compareEndpoint(e *endpoint, at []*booking, used map[sharedBlock]int32) error {
	var want work
	var expected []*Reservation
	adapters, answered, unary := map[int32]int32{}, map[int32]int32{}, 0
	for _, b := range at {
		want.requests++
		want.context += b.prompt + b.tokens
		want.kv += b.private + b.tokens
		for _, h := range b.blocks {
			key := sharedBlock{h, int32(e.slot)}
			if used[key]++; used[key] == 1 {
				want.kv += sampledTokens
			}
		}
		switch {
		case !b.stream:
			unary++
		case !b.hasAnswered:
			want.prefills++
			want.pending += b.uncached
			expected = append(expected, b.Reservation)
		}
		if b.adapter != noAdapter {
			adapters[b.adapter]++
			if b.hasAnswered {
				answered[b.adapter]++
			}
		}
	}
	if !near(want, e.own) {
		return fmt.Errorf("own is %+v, want %+v", e.own, want)
	}
	if len(at) == 0 && (e.own != work{}) || unary == 0 && e.unary.tokens != 0 {
		return fmt.Errorf("own is %+v and unary %+v, with %d and %d requests", e.own, e.unary, len(at), unary)
	}
	if e.unary.requests != unary || e.unary.tokens < 0 {
		return fmt.Errorf("unary is %+v, want %d requests", e.unary, unary)
	}
	if err := compareAdapters(e, adapters, answered); err != nil {
		return err
	}
	return compareExpected(e, expected)
}

// near: sums in another order differ in the last bits.
func near(a, b work) bool {
	const most = 1e-3
	return a.requests == b.requests && a.prefills == b.prefills && math.Abs(a.pending-b.pending) < most &&
		math.Abs(a.context-b.context) < most && math.Abs(a.kv-b.kv) < most
}

func compareAdapters(e *endpoint, inFlight, answered map[int32]int32) error {
	listed := map[int32]bool{}
	for _, a := range e.adapters.list {
		if listed[a.id] {
			return fmt.Errorf("adapter %d is listed twice", a.id)
		}
		listed[a.id] = true
		if a.inFlight != inFlight[a.id] || a.answered != answered[a.id] {
			return fmt.Errorf("adapter %+v, want %d requests, %d answered", a, inFlight[a.id], answered[a.id])
		}
	}
	for id := range inFlight {
		if !listed[id] {
			return fmt.Errorf("adapter %d has requests and is not listed", id)
		}
	}
	return nil
}

// compareExpected looks at those without a first token.
func compareExpected(e *endpoint, want []*Reservation) error {
	var got []*Reservation
	for r, before := e.first, (*Reservation)(nil); r != nil; before, r = r, r.next {
		if r.previous != before || len(got) > len(want) {
			return fmt.Errorf("the chain of those without a first token is broken")
		}
		got = append(got, r)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("%d wait for their first token, want %d", len(got), len(want))
	}
	head := 0.0
	if len(want) > 0 {
		head = want[0].uncached
	}
	if e.head != head || (e.last == nil) != (len(want) == 0) || e.last != nil && e.last != want[len(want)-1] {
		return fmt.Errorf("the head has %g tokens, want %g", e.head, head)
	}
	return nil
}

// soundScheduler checks what holds whatever the history. Nobody else may use it.
func soundScheduler(s *Scheduler) error {
	for id, p := range s.pools {
		if err := soundPool(p); err != nil {
			return fmt.Errorf("pool %s: %w", id, err)
		}
		for _, e := range p.endpoints {
			if s.servers.byAddress[e.address] != e.server {
				return fmt.Errorf("pool %s: %s has another server than others hear of", id, e.address)
			}
		}
	}
	for address, server := range s.servers.byAddress {
		if int(server.pools.Load()) != len(server.users) {
			return fmt.Errorf("%s has %d users, %d in the books", address, len(server.users), server.pools.Load())
		}
		for _, p := range server.users {
			if e := p.endpoints[address]; e == nil || e.server != server || s.pools[poolID(s, p)] != p {
				return fmt.Errorf("%s is used by a pool that does not have it or is gone", address)
			}
		}
	}
	return nil
}

func poolID(s *Scheduler, p *pool) string {
	for id, other := range s.pools {
		if other == p {
			return id
		}
	}
	return ""
}

// soundPool checks a pool, whose lock is held or not needed.
func soundPool(p *pool) error {
	owner := make([]*endpoint, p.slots.count)
	for _, e := range p.endpoints {
		if owner[e.slot] != nil {
			return fmt.Errorf("slot %d has two endpoints", e.slot)
		}
		owner[e.slot] = e
		if !someOrNone(&e.own) || !someOrNone(&e.peers) {
			return fmt.Errorf("%s has %+v, and others %+v", e.address, e.own, e.peers)
		}
	}
	if len(p.endpoints)+len(p.slots.free) != p.slots.count {
		return fmt.Errorf("%d slots for %d endpoints and %d free", p.slots.count, len(p.endpoints), len(p.slots.free))
	}
	pairs := 0
	for slot := range p.prefixes.rings {
		pairs += p.prefixes.rings[slot].n
		if p.prefixes.rings[slot].n != 0 && owner[slot] == nil {
			return fmt.Errorf("slot %d is nobody's and has blocks", slot)
		}
	}
	if pairs != p.prefixes.pairs {
		return fmt.Errorf("the index has %d blocks, %d in its books", pairs, p.prefixes.pairs)
	}
	for _, b := range p.untold {
		if owner[b.slot] == nil {
			return fmt.Errorf("news of slot %d, which is nobody's", b.slot)
		}
	}
	if err := soundPeers(p, owner); err != nil {
		return err
	}
	return soundQueue(&p.queue)
}

// someOrNone reports that nothing is less than nothing, but for sums of fractions.
func someOrNone(w *work) bool {
	for _, n := range []float64{w.requests, w.prefills, w.pending, w.context, w.kv} {
		if !(n > -1e-6 && n < math.Inf(1)) {
			return false
		}
	}
	return true
}

func soundPeers(p *pool, owner []*endpoint) error {
	if len(p.peers) > newsOrigins {
		return fmt.Errorf("news of %d gateways", len(p.peers))
	}
	sums := make([]work, len(owner))
	for _, from := range p.peers {
		for slot := range from.told {
			sums[slot].add(&from.told[slot].work)
		}
	}
	for slot, sum := range sums {
		e := owner[slot]
		if e == nil {
			if sum != (work{}) {
				return fmt.Errorf("peers tell of %+v at slot %d, which is nobody's", sum, slot)
			}
			continue
		}
		got := e.peers
		if got.kv < 0 || got.kv > e.toldKV || e.toldKV != sum.kv {
			return fmt.Errorf("of %g tokens that peers hold at slot %d, %g count", sum.kv, slot, got.kv)
		}
		if got.kv = sum.kv; got != sum {
			return fmt.Errorf("peers tell of %+v at slot %d, in the books are %+v", sum, slot, got)
		}
	}
	return nil
}

func soundQueue(q *queue) error {
	count := 0
	for i, b := range q.bands {
		if len(b.waiters) == 0 || i > 0 && q.bands[i-1].priority <= b.priority {
			return fmt.Errorf("band %d of priority %d has %d calls", i, b.priority, len(b.waiters))
		}
		if most := 4*q.options.Calls + 2*mostIdleFlows + 16; len(b.flows) > most {
			return fmt.Errorf("%d flows are remembered, want at most %d", len(b.flows), most)
		}
		count += len(b.waiters)
		for j, w := range b.waiters {
			if w.index != j || w.band != b || w.call.Priority != b.priority || j > 0 && compareTurns(b.waiters[(j-1)/2], w) > 0 {
				return fmt.Errorf("waiter %d of priority %d is at %d", j, b.priority, w.index)
			}
			if w.turn < w.cost || max(b.virtual, b.flows[w.call.Flow]) < w.turn {
				return fmt.Errorf("flow %q ends at %g, its call's turn is %g", w.call.Flow, b.flows[w.call.Flow], w.turn)
			}
		}
	}
	if count != q.count || count > q.options.Calls {
		return fmt.Errorf("%d calls wait, %d in the books, %d may", count, q.count, q.options.Calls)
	}
	return nil
}
