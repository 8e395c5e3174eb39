package tally

import (
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/rollout/stats"
	"crossfade.dev/internal/routing"
)

// A version that takes requests and never answers ends none of them, so nothing that
// is counted at a request's end ever tells of it. What has waited too long for its
// first byte is therefore counted while it still waits: as an error, as a measure of at
// least what it has waited, and as a failure for the breaker. It happens to both arms by
// the same bound, when a window closes, once in a request's life: its end then counts
// for what is left.

// When a wait is too long: longer than leastLate and lateFactor times what lateQuantile
// of stable's requests of the kind wait at most, of which leastHeard are to be known.
// Streams are one kind, answers that come whole another: those begin when all is done.
const (
	leastLate   = 30 * time.Second
	lateFactor  = 8
	latePercent = 1 // of stable's may wait longer
	leastHeard  = 20
	mostHeard   = 2000 // then older waits weigh half
)

// waiter is a model call without its first byte. There are as many as requests in
// flight, at most.
type waiter struct {
	since   time.Time
	session uint64 // of How ByKey
	how     routing.How
	prompt  prompt
	// candidate and stream say which arm and kind it is of; late, that it was counted.
	candidate, stream, late bool
}

// kindOfWait is the index of a kind in book.heard.
func kindOfWait(stream bool) int {
	if stream {
		return 1
	}
	return 0
}

// waits are how long first bytes took lately, by bucket of package stats.
type waits struct {
	buckets [stats.NumBuckets]int32
	n       int32
}

func (w *waits) add(d time.Duration) {
	if w.n >= mostHeard {
		w.n = 0
		for i := range w.buckets {
			w.buckets[i] /= 2
			w.n += w.buckets[i]
		}
	}
	w.buckets[stats.Bucket(max(d, 0))]++
	w.n++
}

// bound is how long a first byte may take; ok is false while that cannot be said.
func (w *waits) bound() (d time.Duration, ok bool) {
	if w.n < leastHeard {
		return 0, false
	}
	longer := w.n * latePercent / 100
	for i := stats.NumBuckets - 1; i >= 0; i-- {
		if longer -= w.buckets[i]; longer < 0 {
			if i == stats.NumBuckets-1 {
				return 0, false // it has no upper edge
			}
			return max(leastLate, lateFactor*stats.Edge(i)), true
		}
	}
	return leastLate, true
}

// await notes that a model call waits, and returns its ticket; 0: nobody looks.
func (b *book) await(p *Part, o *llm.Outcome, session uint64, now time.Time) uint64 {
	if !p.Assignment.Watched || p.How == routing.Pinned || o == nil || o.Model == "" {
		return 0
	}
	b.ticket++
	b.waiting[b.ticket] = waiter{since: now, session: session, how: p.How, candidate: p.Candidate, prompt: promptOf(o), stream: o.Stream}
	return b.ticket
}

// awaited ends the wait of a request, and reports whether it was counted as late. Those
// stay known until they end.
func (b *book) awaited(ticket uint64) (w waiter, late bool) {
	w = b.waiting[ticket]
	if !w.late {
		delete(b.waiting, ticket)
	}
	return w, w.late
}

// hear notes how long stable's first bytes take.
func (b *book) hear(w *waiter, now time.Time) {
	if !w.candidate && !w.since.IsZero() {
		b.heard[kindOfWait(w.stream)].add(now.Sub(w.since))
	}
}

// expire counts what has waited too long. Stable's come first: the breaker must know
// that both are slow before it looks at the candidate.
func (b *book) expire(now time.Time) {
	if len(b.waiting) == 0 || !b.watched() {
		return
	}
	var bounds [2]time.Duration
	for i := range bounds {
		bounds[i], _ = b.heard[i].bound()
	}
	for _, candidate := range [...]bool{false, true} {
		for ticket, w := range b.waiting {
			bound := bounds[kindOfWait(w.stream)]
			if w.late || w.candidate != candidate || bound == 0 || now.Sub(w.since) <= bound {
				continue
			}
			w.late = true
			b.waiting[ticket] = w
			f := lateFacts(&w, now)
			b.count(w.candidate, w.how, w.session, &f)
			b.judge(w.candidate, true)
		}
	}
}

// lateFacts are those of a request that waits.
func lateFacts(w *waiter, now time.Time) facts {
	f := rescuedFacts()
	f.prompt, f.stream = w.prompt, w.stream
	m := e2e
	if w.stream {
		m = ttft
	}
	f.time(m, now.Sub(w.since))
	return f
}

// without takes away what was counted of a request when it was late.
func (f *facts) without() {
	f.asked &^= 1 << errored
	f.had &^= 1 << errored
	f.measured[ttft], f.measured[e2e] = -1, -1
}
