package scheduling

import (
	"math/rand/v2"
	"slices"

	"crossfade.dev/internal/routing"
)

// Why a candidate is not chosen.
const (
	dropNone    uint8 = iota
	dropTried         // or another was chosen for the call
	dropModel         // it reports its models, and the call's is not among them
	dropEjected       // it has failed lately, or is on probation and has its share
)

var dropNames = [...]string{dropNone: "", dropTried: "tried", dropModel: "serves-model", dropEjected: "healthy"}

// verdict is the outcome of deciding on one call.
type verdict struct {
	index  int // of p.order
	cached float64
	// hold: the call should wait here rather than inside an engine.
	hold hold
}

// hold is what a call waits for.
type hold uint8

const (
	holdNone hold = iota
	holdRoom      // of any endpoint
	holdSlot      // for its adapter; calls for others may have room
)

// decide compares the endpoints that the call may go to; false when there are
// none. p.lengths are those of the call's prompt.
func (p *pool) decide(call *Call, d *demand, now float64) (verdict, bool) {
	if !p.screen(call, now) {
		return verdict{}, false
	}
	blockTokens := p.means.blockTokens()
	d.best = p.bestCached(d, blockTokens)
	p.offer(d, now, blockTokens)
	free, full := lot{equals: p.free[:0]}, lot{equals: p.full[:0]}
	wants := holdSlot
	for i := range p.bids {
		b := &p.bids[i]
		seconds := b.seconds + p.slowed(d, &b.pace)
		if !b.full {
			free.offer(b.index, seconds)
			continue
		}
		if !b.noSlot {
			wants = holdRoom
		}
		full.offer(b.index, seconds)
	}
	p.free, p.full = free.equals, full.equals
	return p.settle(d, &free, &full, blockTokens, wants), true
}

// offer sets p.bids to those of the candidates, and p.usual to what their paces
// are compared with.
func (p *pool) offer(d *demand, now, blockTokens float64) {
	bids := slices.Grow(p.bids[:0], len(p.order))[:len(p.order)]
	n := 0
	p.usual = newUsual()
	deflate := p.prompted.deflate(now)
	for i, e := range p.order {
		if p.dropped[i] != dropNone {
			continue
		}
		cached := 0.0
		if p.matched {
			cached = p.cached(e, d, blockTokens)
		}
		b := &bids[n]
		b.index = int32(i)
		p.priceAt(d, e, now, deflate, cached, b, nil)
		p.usual.add(&b.pace)
		n++
	}
	p.bids = bids[:n]
	p.usual.settle(n)
}

// settle says which of the cheapest endpoints it is to be: one that is not full, or
// one that is. With a queue, no call goes to a full endpoint: it would wait there for
// longer than here, and here it can still be given to whoever is free first. A
// full endpoint is waited for only when it has half of the prompt more than the
// others. wants is what those that are full lack.
func (p *pool) settle(d *demand, free, full *lot, blockTokens float64, wants hold) verdict {
	var v verdict
	switch {
	case len(full.equals) == 0:
		v.index = free.draw(p.rand)
	case len(free.equals) == 0:
		v.index = full.draw(p.rand)
		if p.queue.enabled() {
			v.hold = wants
		}
	case free.seconds <= full.seconds+equal:
		v.index = free.draw(p.rand)
	case !p.queue.enabled():
		v.index = full.draw(p.rand)
	default:
		other, best := free.draw(p.rand), full.draw(p.rand)
		v.index = other
		if p.cached(p.order[best], d, blockTokens)-p.cached(p.order[other], d, blockTokens) > d.prompt/2 {
			v.index, v.hold = best, wants
		}
	}
	v.cached = p.cached(p.order[v.index], d, blockTokens)
	return v
}

// lot is the cheapest so far. Equals are drawn by lot: otherwise gateways that
// do not know of each other would all start with the same endpoint.
type lot struct {
	seconds float64
	equals  []int32 // of p.order
}

// equal: sums of the same terms may differ in the last bits.
const equal = 1e-9

func (l *lot) offer(i int32, seconds float64) {
	switch {
	case len(l.equals) == 0 || seconds < l.seconds-equal:
		l.seconds, l.equals = seconds, append(l.equals[:0], i)
	case seconds <= l.seconds+equal:
		l.equals = append(l.equals, i)
	}
}

func (l *lot) draw(r *rand.Rand) int {
	if len(l.equals) == 1 {
		return int(l.equals[0])
	}
	return int(l.equals[r.IntN(len(l.equals))])
}

// priceAt sets out to what a call costs at an endpoint now. deflate is of
// p.prompted. parts may be nil.
func (p *pool) priceAt(d *demand, e *endpoint, now, deflate, cached float64, out *bid, parts *terms) {
	var w work
	e.load.at(now, &p.engine, &w)
	if p.servers.shared.Load() && e.server.pools.Load() > 1 {
		// What other pools sent there is ours as well.
		w.requests = max(w.requests, w.requests-e.own.requests+float64(e.server.inFlight.Load()))
	}
	coming := 0.0
	if cached > 0 && w.pending > 0 {
		coming = min(w.pending, e.coming(p.prefix, p.lengths[e.slot], now)*p.means.blockTokens())
	}
	p.price(d, &e.load, &w, cached, coming, out, parts)
	out.pace.prompts = e.prompted * deflate
	if d.adapter != noAdapter {
		seconds, waits := p.loraSeconds(d, &e.adapters, &w, now <= e.foreignUntil)
		out.seconds += seconds
		if parts != nil {
			parts[termLoRA] = seconds
		}
		out.full, out.noSlot = out.full || waits, waits && !out.full
	}
}

// cached is how many tokens of the prompt an endpoint probably has. At least
// one token is always computed.
func (p *pool) cached(e *endpoint, d *demand, blockTokens float64) float64 {
	if n := p.lengths[e.slot]; n > 0 {
		return max(0, min(float64(n)*blockTokens, d.prompt-1))
	}
	return 0
}

func (p *pool) bestCached(d *demand, blockTokens float64) float64 {
	best := 0.0
	if !p.matched {
		return best
	}
	for i, e := range p.order {
		if p.dropped[i] == dropNone {
			best = max(best, p.cached(e, d, blockTokens))
		}
	}
	return best
}

// screen sets candidates aside that should not have the call. Each reason but
// the first is passed over when it would leave none: a doubtful endpoint is
// better than none. It returns false when all were tried.
func (p *pool) screen(call *Call, now float64) bool {
	dropped := p.dropped[:len(p.order)]
	serving := p.serves(call.Model)
	counts := [4]int{}
	if p.sound && len(call.Tried) == 0 && call.Chosen == "" {
		for i, drop := range serving {
			dropped[i] = drop
			counts[drop]++
		}
	} else {
		p.screenEach(call, now, serving, &counts)
	}
	if counts[dropNone] == 0 {
		readmit := dropEjected
		if counts[dropEjected] == 0 {
			readmit = dropModel
		}
		for i := range dropped {
			if dropped[i] == readmit {
				dropped[i] = dropNone
			}
		}
	}
	return counts[dropTried] < len(p.order)
}

// screenEach looks at each endpoint, and whether all are sound.
func (p *pool) screenEach(call *Call, now float64, serving []uint8, counts *[4]int) {
	p.sound = true
	for i, e := range p.order {
		p.sound = p.sound && !e.health.probation
		drop := serving[i]
		if len(call.Tried) > 0 && slices.Contains(call.Tried, e.address) || call.Chosen != "" && call.Chosen != e.address {
			drop = dropTried
		} else if drop == dropNone && e.health.probation && e.health.ejected(now, e.own.requests) {
			drop = dropEjected
		}
		p.dropped[i] = drop
		counts[drop]++
	}
}

// servingMost is how many models serves remembers; there are as many names as
// clients can think of.
const servingMost = 256

// serves returns which endpoints report models without the call's.
func (p *pool) serves(model string) []uint8 {
	if drops, ok := p.serving[model]; ok {
		return drops
	}
	drops := make([]uint8, len(p.order))
	for i := range p.aligned.Endpoints {
		if models := p.aligned.Endpoints[i].Models; models != nil && !slices.Contains(models, model) {
			drops[i] = dropModel
		}
	}
	if p.serving == nil || len(p.serving) >= servingMost {
		p.serving = map[string][]uint8{}
	}
	p.serving[model] = drops
	return drops
}

// match looks up how much of a prompt each endpoint has.
func (p *pool) match(prefix []uint64) {
	if p.matched {
		clear(p.lengths)
	}
	p.prefix = prefix
	p.matched = p.prefixes.match(prefix, p.lengths)
}

// demand estimates what a call asks for.
func (p *pool) demand(call *Call) demand {
	d := p.means.demand(call)
	d.adapter = p.adapters.find(call.Model)
	return d
}

// place decides on a call and books it, unless it should wait: then it says for
// what.
func (p *pool) place(call *Call, prefix []uint64, now float64, mayHold bool) (Decision, hold, error) {
	p.match(prefix)
	d := p.demand(call)
	v, ok := p.decide(call, &d, now)
	if !ok {
		return Decision{}, holdNone, ErrExhausted
	}
	if v.hold != holdNone && mayHold {
		p.keep(call, &d, -1, now)
		return Decision{}, v.hold, nil
	}
	p.keep(call, &d, v.index, now)
	e := p.order[v.index]
	decision := Decision{Endpoint: p.aligned.Endpoints[v.index]}
	if call.Explain {
		decision.Candidates = p.explain(&d, now)
	}
	decision.Reservation = p.reserve(call, e, &d, v.cached, prefix, now)
	return decision, holdNone, nil
}

// pick decides and books. prefix holds the hashes of the prompt's blocks. A
// call that has to wait comes back as a waiter, with notify to be called. The error is
// errGivenUp when another pool has this one's name by now.
func (p *pool) pick(call *Call, as *routing.Pool, prefix []uint64, notify func(Decision, error)) (Decision, *waiter, error) {
	p.mu.Lock()
	defer p.unlock()
	if p.givenUp {
		return Decision{}, nil, errGivenUp
	}
	p.align(as)
	now := p.seconds(call.At)
	if id := p.adapters.find(call.Model); id != noAdapter && len(call.Tried) == 0 {
		p.adapters.called(id)
	}
	// Who was admitted once does not queue again for a second try, an external
	// picker has its own opinion of who is full, and of what is no model server
	// nobody can tell.
	mayHold := p.queue.enabled() && as.Inference && len(call.Tried) == 0 && call.Chosen == ""
	if !mayHold || !p.queue.before(call.Priority) {
		decision, waits, err := p.place(call, prefix, now, mayHold)
		if err != nil || waits == holdNone {
			return decision, nil, err
		}
	}
	w, err := p.wait(call, prefix, now, notify)
	if err == nil {
		p.drain(now)
	}
	return Decision{}, w, err
}
