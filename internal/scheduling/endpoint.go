package scheduling

// endpoint is what a pool knows of one of its endpoints. Its pool's lock guards
// it.
//
// When no reservation is left, own, unary and waiting are 0.
type endpoint struct {
	load
	address string
	pod     string
	server  *server
	slot    int  // its bit in the prefix index
	left    bool // no longer in the pool; forgotten when it has no requests

	// first and last of the streamed reservations without a first token, in
	// the order they were made.
	first, last *Reservation

	adapters adapters
	health   health
	cache    cacheSize
	picks    uint64

	seen *scrape // the last one that was taken over

	// computed is the prompt tokens whose first token has come, ever, those of
	// other gateways included; of ours the first untoldComputed are for the next
	// news, and so are untoldAnswers blocks of answers.
	computed       float64
	untoldComputed float64
	untoldAnswers  int
}

// expect appends a reservation to those that wait for their first token.
func (e *endpoint) expect(r *Reservation) {
	r.previous = e.last
	if e.last != nil {
		e.last.next = r
	} else {
		e.first = r
	}
	e.last = r
	e.own.prefills++
	e.own.pending += r.uncached
	e.lead()
}

// brings is what of a prompt an endpoint did not have: so many blocks from one on.
type brings struct {
	first      uint64 // its hash, 0 when there is none
	at, blocks int32  // of the prompt
}

// in is how many of the blocks are of a prompt too of which so many were sent.
func (b *brings) in(prefix []uint64, sent int32) int32 {
	if b.blocks == 0 || b.at >= sent || prefix[b.at] != b.first {
		return 0
	}
	return min(b.blocks, sent-b.at)
}

// comingMost is how many of the prompts ahead are looked at, of each kind.
const comingMost = 16

// coming is how many blocks, of those of a prompt that were sent to e, it has
// still to compute for the calls that brought them.
func (e *endpoint) coming(prefix []uint64, sent int32, now float64) float64 {
	blocks := int32(0)
	n := 0
	for r := e.first; r != nil && n < comingMost; r, n = r.next, n+1 {
		blocks += r.brings.in(prefix, sent)
	}
	for i := range e.unary.coming {
		if c := &e.unary.coming[i]; now < c.until {
			blocks += c.in(prefix, sent)
		}
	}
	if now <= e.peersUntil {
		for i := range e.ahead[:min(len(e.ahead), comingMost)] {
			blocks += e.ahead[i].brings.in(prefix, sent)
		}
		for i := range e.toldComing[:min(len(e.toldComing), comingMost)] {
			blocks += e.toldComing[i].in(prefix, sent)
		}
	}
	return float64(min(blocks, sent))
}

// unexpect takes it out of them.
func (e *endpoint) unexpect(r *Reservation, at float64) {
	if r.previous != nil {
		r.previous.next = r.next
	} else {
		e.first = r.next
	}
	if r.next != nil {
		r.next.previous = r.previous
	} else {
		e.last = r.previous
	}
	r.previous, r.next = nil, nil
	e.own.prefills--
	e.own.pending -= r.uncached
	if e.first == nil {
		e.own.pending = 0 // exactly, whatever the fractions
	}
	e.done = max(e.done, at)
	e.lead()
}

// lead sets whose prompt the engine is taken to be computing.
func (e *endpoint) lead() {
	if e.first == nil {
		e.head = 0
		return
	}
	e.head, e.begun = e.first.uncached, e.first.begun
}

// cacheSize corrects how much of its KV cache an endpoint is believed to keep
// of prompts: of what is in the books, engines may have room for less.
type cacheSize struct{ factor float64 }

const (
	leastCacheFactor = 0.05
	cacheShrink      = 0.97
	cacheGrow        = 1.01
	// cacheSlack tokens of difference say nothing: the template around a
	// prompt and the last block.
	cacheSlack = 128
)

// learn compares what a prompt was expected to find in the cache with what the
// engine reported.
func (c *cacheSize) learn(expected, reported float64) {
	switch {
	case expected > cacheSlack && reported < expected/2:
		c.factor = max(leastCacheFactor, c.factor*cacheShrink)
	case reported > expected-cacheSlack && reported > cacheSlack:
		c.factor = min(1, c.factor*cacheGrow)
	}
}
