package scheduling

import "slices"

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
	// head is the uncached tokens of the first of our requests in pending and
	// begun when it was sent; the engine has been computing it since then, or
	// since done, when one before it had its first token: nobody tells how far
	// it is.
	head, begun, done float64

	slots        float64 // requests it runs at once; 0 unknown
	kvTokens     float64 // that fit
	prompted     float64 // seconds that prompts took lately, see recent
	others       bool    // some of foreign or peers is not 0
	foreignUntil float64
	peersUntil   float64
	unary        backlog

	foreign work // seen by the last scrape, not ours
	peers   work // that other gateways told of

	// ahead are prompts in peers.pending, in the order in which they were sent,
	// and peersDone is done of their gateways. toldComing is unary.coming of those.
	ahead      []toldPrompt
	toldComing []brings
	peersDone  float64
	// peers.kv is kvShare of toldKV, what they told: of blocks that several use, each
	// tells.
	toldKV, kvShare float64
}

// toldPrompt is a prompt of another gateway that has no first token.
type toldPrompt struct {
	begun, told float64 // instants
	tokens      float64 // uncached
	brings      brings
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
	coming   []bringing // the latest of them, which may be over
}

// bringing is brings until the engine has probably computed them.
type bringing struct {
	brings
	until float64
}

// left returns the tokens that are left at an instant.
func (b *backlog) left(at float64, e *engine) float64 {
	return max(0, b.tokens-max(0, at-b.at)*e.prefillRate)
}

func (b *backlog) add(tokens, at float64, e *engine, brought brings) {
	b.tokens = b.left(at, e) + tokens
	b.at = max(b.at, at)
	b.requests++
	if brought.blocks == 0 {
		return
	}
	b.coming = slices.DeleteFunc(b.coming, func(c bringing) bool { return c.until <= at })
	if len(b.coming) == comingMost {
		b.coming = slices.Delete(b.coming, 0, 1)
	}
	b.coming = append(b.coming, bringing{brought, b.at + b.tokens/e.prefillRate})
}

func (b *backlog) end() {
	b.requests--
	if b.requests == 0 {
		b.tokens, b.coming = 0, b.coming[:0]
	}
}

// at sets w to all the work an endpoint has at an instant.
func (l *load) at(now float64, e *engine, w *work) {
	*w = l.own
	if l.unary.requests > 0 {
		w.pending += l.unary.left(now, e)
	}
	if l.others && now <= l.foreignUntil {
		w.add(&l.foreign)
	}
	if l.others && now <= l.peersUntil {
		w.add(&l.peers)
		w.pending -= l.progressOfAll(now, e)
		return
	}
	w.pending -= l.progress(now-max(l.begun, l.done), e)
}

// almost is how much of a prompt is computed at most before its first token has
// come.
const almost = 0.95

// progress is how much of the head the engine has probably computed in so many
// seconds.
func (l *load) progress(seconds float64, e *engine) float64 {
	if l.head == 0 {
		return 0
	}
	return min(max(0, seconds)*e.prefillRate, almost*l.head)
}

// progressOfAll is how much it has of the prompts of all gateways, which it takes
// in the order in which they came. That another's has its first token is told
// late, so the next is taken to follow when it should have, but for what it was
// told to wait for still.
func (l *load) progressOfAll(now float64, e *engine) float64 {
	sum, free := 0.0, max(l.done, l.peersDone)
	for i := range l.ahead {
		a := &l.ahead[i]
		if l.head > 0 && l.begun <= a.begun {
			break
		}
		from := max(free, a.begun)
		if free = max(from+a.tokens*e.prefill, a.told); free >= now {
			return sum + min(max(0, now-from)*e.prefillRate, almost*a.tokens)
		}
		sum += a.tokens
	}
	return sum + l.progress(now-max(l.begun, free), e)
}
