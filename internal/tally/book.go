package tally

import (
	"sync"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/routing"
)

// attempt names one attempt of one rollout.
type attempt struct {
	rollout string // namespace/name
	number  int64
}

// book has the counts of one attempt.
type book struct {
	attempt attempt

	mu   sync.Mutex
	gone bool // it was thrown away: whoever finds it looks again
	// splits are those of the newest snapshot, former those of the one before, which
	// is served until the newest is published.
	splits, former []Split
	since          time.Time // the attempt is known
	barred         string    // why the candidate gets nothing here; "" while it does

	arrivals, inFlight [2]int64 // candidate, stable
	breaker            rollout.Breaker

	window  window
	number  int64 // of the window
	total   grid  // of closed windows
	past    memory
	even    bool    // which half of stable gets the next request without a key
	caching [2]bool // an arm has reported tokens from a cache
}

func newBook(a attempt, now time.Time, number int64) *book {
	b := &book{attempt: a, since: now, number: number, past: newMemory()}
	b.window.seen, b.window.worst = map[visitor]account{}, map[seat]int16{}
	return b
}

// armOf is 0 for the candidate, 1 for stable.
func armOf(p *routing.Place) int {
	if p.Candidate {
		return 0
	}
	return 1
}

// adopt takes over the book's splits in a snapshot that is about to be served; none:
// it has no part of the attempt. When an attempt is over the bar is lifted.
func (b *book) adopt(splits []Split) {
	b.former, b.splits = b.splits, splits
	if len(splits) > 0 && !b.watched() {
		b.barred = ""
		b.breaker.Reset()
	}
	b.bar()
}

// watched reports whether the attempt is under way.
func (b *book) watched() bool {
	for i := range b.splits {
		if b.splits[i].Assignment.Watched {
			return true
		}
	}
	return false
}

// bar bars the candidate in every snapshot that may be served, if it is to be.
func (b *book) bar() {
	if b.barred == "" {
		return
	}
	for _, splits := range [][]Split{b.former, b.splits} {
		for i := range splits {
			if a := splits[i].Assignment; a.Watched {
				a.Bar()
			}
		}
	}
}

// idle reports that nothing of the attempt is left.
func (b *book) idle() bool { return len(b.splits) == 0 && b.inFlight == [2]int64{} }

// roll closes the window when its time is over.
func (b *book) roll(number int64) {
	if number <= b.number {
		return
	}
	b.number = number
	w := &b.window
	if w.used {
		b.total.take(&w.grid)
		clear(w.seen)
		clear(w.worst)
		w.used = false
	}
	w.byFresh = b.caching[0] && b.caching[1]
}

// close counts a finished request. session is its key's hash.
func (b *book) close(p *Part, o *llm.Outcome, session uint64) {
	f := facts{}
	switch {
	case p.Rescued == "":
		f = factsOf(o)
	case p.Failed != "":
		f = rescuedFacts()
	default:
		return
	}
	if f.asked == 0 {
		return
	}
	arm := armOf(&p.Place)
	b.caching[arm] = b.caching[arm] || f.prompt.cached
	switch {
	case p.How == routing.ByKey && p.Candidate:
		b.window.session(session, candidate, &f, &b.past)
	case p.How == routing.ByKey:
		b.window.session(session, stableA+uint8(session>>63), &f, &b.past)
	case p.Candidate:
		b.window.request(candidate, &f)
	default:
		half := uint8(stableA)
		if b.even {
			half = stableB
		}
		b.even = !b.even
		b.window.request(half, &f)
	}
}

// record tells the breaker, and bars the candidate when that trips. It returns why,
// the first time.
func (b *book) record(p *Part, failed bool) (tripped string) {
	if why := b.breaker.Record(p.Candidate, failed); why != "" && b.barred == "" {
		b.barred = why
		b.bar()
		p.Assignment.Bar()
		return why
	}
	return ""
}
