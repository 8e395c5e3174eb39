package scheduling

// work is requests and what they ask of an engine. It is counted in floats, as
// the cost needs it; all of it is whole numbers but what is estimated.
type work struct {
	requests float64 // in flight
	prefills float64 // of them, streamed and without a first token
	pending  float64 // uncached prompt tokens of those
	context  float64 // tokens, prompts and answers so far
	kv       float64 // tokens in the KV cache, those shared by requests once
}

func (w *work) add(o *work) {
	w.requests += o.requests
	w.prefills += o.prefills
	w.pending += o.pending
	w.context += o.context
	w.kv += o.kv
}

// load is the work of one endpoint. All instants are seconds since the pool's
// first call. Every decision reads the loads of all endpoints, mostly out of a
// far cache, so what it always reads comes first.
type load struct {
	own work
	// head is the uncached tokens of the first request in pending, and since
	// the instant from which the engine has been computing it, for nobody
	// tells how far it is.
	head, since  float64
	slots        float64 // requests it runs at once; 0 unknown
	kvTokens     float64 // that fit
	prompted     float64 // seconds that prompts took lately, see recent
	others       bool    // some of foreign or peers is not 0
	foreignUntil float64
	peersUntil   float64
	unary        backlog

	foreign work // seen by the last scrape, not ours
	peers   work // that other gateways told of
}

// setOthers notes whether anybody else has work here.
func (l *load) setOthers() { l.others = l.foreign != (work{}) || l.peers != (work{}) }

// backlog is the uncached prompt tokens of requests whose answer comes in one
// piece: nobody tells when their prefill ends, so it is assumed to go at the
// engine's speed.
type backlog struct {
	requests int
	tokens   float64
	at       float64
}

// left returns the tokens that are left at an instant.
func (b *backlog) left(at float64, e *engine) float64 {
	return max(0, b.tokens-max(0, at-b.at)*e.prefillRate)
}

func (b *backlog) add(tokens, at float64, e *engine) {
	b.tokens = b.left(at, e) + tokens
	b.at = max(b.at, at)
	b.requests++
}

func (b *backlog) end() {
	b.requests--
	if b.requests == 0 {
		b.tokens = 0
	}
}

// at sets w to all the work an endpoint has at an instant.
func (l *load) at(now float64, e *engine, w *work) {
	*w = l.own
	l.progressed(now, e, w)
	if !l.others {
		return
	}
	if now <= l.foreignUntil {
		w.add(&l.foreign)
	}
	if now <= l.peersUntil {
		w.add(&l.peers)
	}
	// foreign.kv makes up for what peers count twice, and is below 0 when those have
	// less than at the last scrape, or say nothing any more.
	if w.kv < l.own.kv { // max would ask for NaN, thousands of times
		w.kv = l.own.kv
	}
}

// progressed takes from w what the engine has probably computed of l.own, and
// adds the prompts of answers that come in one piece.
func (l *load) progressed(now float64, e *engine, w *work) {
	if l.head > 0 {
		// The first token of the head is not there, so something is left of it.
		const most = 0.95
		w.pending -= min(max(0, now-l.since)*e.prefillRate, most*l.head)
	}
	if l.unary.requests > 0 {
		w.pending += l.unary.left(now, e)
	}
}
