package scheduling

import (
	"time"

	"crossfade.dev/internal/llm"
)

// Reservation is a call's place at its endpoint, from Pick to End. Its methods
// are safe for concurrent use, do nothing after End, and do nothing on nil.
type Reservation struct {
	pool     *pool
	endpoint *endpoint

	// Fixed by Pick.
	promptBytes int
	prompt      float64  // tokens, estimated
	uncached    float64  // of them, to be computed
	private     float64  // of them, in no block that others may share
	blocks      []uint64 // sampled, in use until End
	brings      brings
	stream      bool
	adapter     int32
	begun       float64    // instant
	expected    [3]float64 // seconds until the first token; all 0 when unusual

	// Guarded by the pool's lock.
	previous, next *Reservation // of those without a first token
	answered       bool
	streamed       float64 // tokens
	ended          bool
	first          moment // of the first token
}

// moment is what a call's speed is measured against.
type moment struct {
	at       float64
	computed float64 // the endpoint's prompt tokens so far
	work     work
}

// EndResult says how a call ended.
type EndResult struct {
	At    time.Time
	Usage llm.Usage
	// Failed: the endpoint is to blame; not when the client went away.
	Failed bool
}

// FirstToken tells that the first byte of the answer has come: the prompt has
// been computed.
func (r *Reservation) FirstToken(at time.Time) {
	if r == nil {
		return
	}
	p := r.pool
	p.mu.Lock()
	defer p.unlock()
	if r.ended || r.answered {
		return
	}
	now := p.seconds(at)
	r.answered = true
	e := r.endpoint
	e.health.answer(now)
	if r.adapter != noAdapter {
		if a := e.adapters.find(r.adapter); a != nil {
			a.answered++
		}
	}
	if r.stream {
		p.learnFirst(r, now)
		e.unexpect(r, now)
		e.computed += r.uncached
		e.untoldComputed += r.uncached
		r.first.at, r.first.computed = now, e.computed
		e.load.at(now, &p.engine, &r.first.work)
	}
	p.drain(now)
}

// Tokens tells how many tokens have been streamed so far. It may be called as
// seldom as one likes.
func (r *Reservation) Tokens(n int) {
	if r == nil {
		return
	}
	p := r.pool
	p.mu.Lock()
	defer p.mu.Unlock()
	more := float64(n) - r.streamed
	if r.ended || more <= 0 {
		return
	}
	r.endpoint.own.context += more
	r.endpoint.own.kv += more
	r.streamed += more
}

// End gives the place back. Calls after the first do nothing.
func (r *Reservation) End(result EndResult) {
	if r == nil {
		return
	}
	p := r.pool
	p.mu.Lock()
	defer p.unlock()
	if r.ended {
		return
	}
	r.ended = true
	now := p.seconds(result.At)
	e := r.endpoint
	switch {
	case result.Failed:
		if e.health.fail(now) {
			p.observed.ejections++
			p.sound = false
		}
	default:
		if !r.answered {
			e.health.answer(now)
		}
		p.learnRest(r, now, result.Usage)
	}
	p.release(r, now)
	p.learnUsage(r, result.Usage)
	if e.left && e.own.requests == 0 {
		p.forget(e)
	}
	p.drain(now)
}

// sampledTokens is what one sampled block stands for.
const sampledTokens = sampling * blockBytes / 4

// reserve books a call at an endpoint.
func (p *pool) reserve(call *Call, e *endpoint, d *demand, cached float64, prefix []uint64, now float64) *Reservation {
	r := &Reservation{
		pool: p, endpoint: e, adapter: d.adapter, begun: now,
		prompt: d.prompt, uncached: d.prompt - cached,
		private: max(0, d.prompt-float64(len(prefix))*p.means.blockTokens()),
	}
	if call.Request != nil {
		r.promptBytes = len(call.Request.Prompt)
		r.stream = call.Request.Stream
	}
	p.picks++
	e.picks++
	e.server.inFlight.Add(1)
	p.observed.picked(d, cached)
	r.expected = p.expectFirst(e, r.uncached, cached, now)
	e.own.requests++
	e.own.context += r.prompt
	r.blocks = sampled(nil, prefix)
	e.own.kv += r.private + sampledTokens*float64(p.sharing.take(r.blocks, e.slot))
	if had := p.lengths[e.slot]; int(had) < len(prefix) {
		r.brings = brings{first: prefix[had], at: had, blocks: int32(len(prefix)) - had}
	}
	p.prompt(e, r.uncached, now)
	if r.stream {
		e.expect(r)
	} else {
		e.unary.add(r.uncached, now, &p.engine, r.brings)
	}
	if r.adapter != noAdapter {
		e.adapters.book(r.adapter, now)
	}
	p.tell(p.prefixes.add(prefix, e.slot), e.slot)
	p.tellSoon(r.uncached)
	return r
}

// release undoes reserve, except for what outlasts the call.
func (p *pool) release(r *Reservation, now float64) {
	e := r.endpoint
	e.server.inFlight.Add(-1)
	switch {
	case !r.stream:
		e.unary.end()
	case !r.answered:
		e.unexpect(r, now)
	}
	e.own.context -= r.prompt + r.streamed
	e.own.kv -= r.private + r.streamed + sampledTokens*float64(p.sharing.give(r.blocks, e.slot))
	if e.own.requests--; e.own.requests == 0 {
		e.own = work{} // exactly, whatever the fractions
	}
	if r.adapter != noAdapter {
		e.adapters.release(r.adapter, r.answered, now)
	}
}
