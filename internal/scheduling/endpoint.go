package scheduling

import "time"

// endpoint is what a pool knows of one of its endpoints. Its pool's lock guards
// it.
//
// When no reservation is left, inFlight, pending, unary and context are 0.
type endpoint struct {
	address string
	pod     string
	server  *server
	slot    int  // its bit in the prefix index
	left    bool // no longer in the pool; forgotten when inFlight is 0

	inFlight int // requests
	pending  int // uncached prompt tokens of streamed requests without a first token
	unary    backlog
	context  int // tokens of requests in flight, prompts and answers so far

	adapters adapters
	health   health
	picks    uint64

	seen *scrape // the last one that was taken over
	sent int     // uncached prompt tokens sent since then
}

// backlog is the uncached prompt tokens of requests whose answer comes in one
// piece: nobody tells when their prefill ends, so it is assumed to go at the
// speed of the engine model.
type backlog struct {
	requests int
	tokens   float64
	at       time.Time
}

// left returns the tokens that are left at the given instant.
func (b *backlog) left(at time.Time) float64 {
	return max(0, b.tokens-max(0, at.Sub(b.at).Seconds())/secondsPerPrefill)
}

func (b *backlog) add(tokens int, at time.Time) {
	b.tokens = b.left(at) + float64(tokens)
	b.at = at
	b.requests++
}

func (b *backlog) end() {
	b.requests--
	if b.requests == 0 {
		b.tokens = 0
	}
}

// refresh takes over the server's last metrics and reports whether they are
// new.
func (e *endpoint) refresh() bool {
	last := e.server.last.Load()
	if last == e.seen {
		return false
	}
	e.seen, e.sent = last, 0
	e.adapters.refresh(&last.Metrics)
	return true
}

// describe fills in the candidate's load and health at an instant. Metrics from
// before oldest are not believed; means are the pool's.
func (e *endpoint) describe(c *Candidate, at, oldest time.Time, m *means) {
	c.endpoint = e
	c.fresh = e.seen != nil && !e.seen.At.Before(oldest)
	c.Ejected = e.health.ejected(at, e.inFlight)
	c.Load.Requests = int(e.server.inFlight.Load())
	c.Load.Pending = e.pending
	c.Load.Context = e.context
	if e.unary.requests > 0 {
		c.Load.Pending += int(e.unary.left(at))
	}
	if c.fresh {
		c.Load.add(e.seen, e.sent, m)
	}
}

// add joins what a scrape showed to what is known here.
func (l *Load) add(s *scrape, sent int, m *means) {
	l.Requests += s.foreign
	l.Pending += s.foreignWaiting * int(m.prompt)
	l.Context += (s.foreign - s.foreignWaiting) * int(m.prompt+m.output/2)
	l.Slots = s.slots
	l.KVTokens = s.kvTokens()
	l.KVUsed = int(s.KVUsage*float64(l.KVTokens)) + sent
}

// kvTokens returns how many tokens fit into the endpoint's KV cache.
func (s *scrape) kvTokens() int {
	if s != nil && s.Blocks > 0 && s.BlockSize > 0 {
		return s.Blocks * s.BlockSize
	}
	return assumedKVTokens
}
