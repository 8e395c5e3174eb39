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
	prompt      int // tokens, estimated
	uncached    int // of them, to be computed
	stream      bool
	adapter     string // "" for none

	// Guarded by the pool's lock.
	answered bool
	streamed int // tokens
	ended    bool
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
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if r.ended || r.answered {
		return
	}
	r.answered = true
	r.endpoint.health.answer(at)
	if r.stream {
		r.endpoint.pending -= r.uncached
	}
}

// Tokens tells how many tokens have been streamed so far. It may be called as
// seldom as one likes.
func (r *Reservation) Tokens(n int) {
	if r == nil {
		return
	}
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if r.ended || n <= r.streamed {
		return
	}
	r.endpoint.context += n - r.streamed
	r.streamed = n
}

// End gives the place back. Calls after the first do nothing.
func (r *Reservation) End(result EndResult) {
	if r == nil {
		return
	}
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	if r.ended {
		return
	}
	r.ended = true
	r.release()
	switch {
	case result.Failed:
		r.endpoint.health.fail(result.At)
	case !r.answered:
		r.endpoint.health.answer(result.At)
	}
	r.pool.means.learn(r.promptBytes, result.Usage)
	if r.endpoint.left && r.endpoint.inFlight == 0 {
		r.pool.forget(r.endpoint)
	}
}

// book enters the reservation into its endpoint's books.
func (r *Reservation) book(at time.Time) {
	e := r.endpoint
	e.picks++
	e.inFlight++
	e.server.inFlight.Add(1)
	e.context += r.prompt
	e.sent += r.uncached
	if r.stream {
		e.pending += r.uncached
	} else {
		e.unary.add(r.uncached, at)
	}
	if r.adapter != "" {
		e.adapters.use(r.adapter, at).inFlight++
		e.adapters.trim()
	}
}

// release undoes book, except for what outlasts the call.
func (r *Reservation) release() {
	e := r.endpoint
	e.inFlight--
	e.server.inFlight.Add(-1)
	e.context -= r.prompt + r.streamed
	switch {
	case !r.stream:
		e.unary.end()
	case !r.answered:
		e.pending -= r.uncached
	}
	if r.adapter != "" {
		e.adapters.release(r.adapter)
	}
}
