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
	absent         time.Time // since when no snapshot has a part of it
	renewed        time.Time // what began before is of a namesake; zero: there was none
	revision       int64     // the highest share's that was seen
	barred         string    // why the candidate gets nothing here; "" while it does
	untold         string    // barred, while nobody has been told

	arrivals, inFlight [2]int64 // candidate, stable
	breaker            rollout.Breaker

	ticket  uint64            // the last one
	waiting map[uint64]waiter // by ticket
	heard   [2]waits          // stable's, by kindOfWait

	window  window
	number  int64 // of the window
	total   grid  // of closed windows
	past    memory
	even    bool    // which half of stable gets the next request without a key
	caching [2]bool // an arm has reported tokens from a cache
}

func newBook(a attempt, now time.Time, number int64) *book {
	b := &book{attempt: a, since: now, absent: now, number: number, waiting: map[uint64]waiter{}}
	b.empty()
	return b
}

// empty forgets what was counted.
func (b *book) empty() {
	b.past, b.total = newMemory(), grid{}
	b.window = window{seen: map[visitor]account{}, worst: map[seat]int16{}}
}

// absence is how long an attempt may be in no snapshot before it is forgotten: a file
// that is just being written has no rollout for a moment, and what its candidate did
// before must not be forgiven for that.
const absence = time.Minute

// again begins anew: a rollout was deleted, and its namesake counts attempts and
// revisions from the beginning. What is in flight belongs to the old one.
func (b *book) again(now time.Time) {
	b.empty()
	clear(b.waiting)
	b.since, b.renewed = now, now
	b.arrivals, b.barred, b.heard, b.caching = [2]int64{}, "", [2]waits{}, [2]bool{}
	b.breaker.Reset()
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
func (b *book) adopt(splits []Split, now time.Time) {
	if len(b.splits) > 0 && len(splits) == 0 {
		b.absent = now
	}
	b.former, b.splits = b.splits, splits
	revision := int64(0)
	for i := range splits {
		revision = max(revision, splits[i].Assignment.Revision)
	}
	if len(splits) > 0 {
		if revision < b.revision {
			b.again(now)
		}
		b.revision = revision
	}
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

// idle reports that nothing of the attempt is left, nor will come back.
func (b *book) idle(now time.Time) bool {
	return len(b.splits) == 0 && b.inFlight == [2]int64{} && now.Sub(b.absent) >= absence
}

// roll closes the window when its time is over.
func (b *book) roll(number int64, now time.Time) {
	if number <= b.number {
		return
	}
	b.expire(now)
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

// close counts a finished request. session is its key's hash; late says that it was
// counted as such.
func (b *book) close(p *Part, o *llm.Outcome, session uint64, late bool) {
	f := facts{}
	switch {
	case p.Rescued == "":
		f = factsOf(o)
	case p.Failed != "":
		f = rescuedFacts()
	default:
		return
	}
	if late {
		f.without()
	}
	if f.asked == 0 {
		return
	}
	arm := armOf(&p.Place)
	b.caching[arm] = b.caching[arm] || f.prompt.cached
	b.count(p.Candidate, p.How, session, &f)
}

// count counts facts of a request in the window.
func (b *book) count(isCandidate bool, how routing.How, session uint64, f *facts) {
	switch {
	case how == routing.ByKey && isCandidate:
		b.window.session(session, candidate, f, &b.past)
	case how == routing.ByKey:
		b.window.session(session, stableA+uint8(session>>63), f, &b.past)
	case isCandidate:
		b.window.request(candidate, f)
	default:
		half := uint8(stableA)
		if b.even {
			half = stableB
		}
		b.even = !b.even
		b.window.request(half, f)
	}
}

// judge tells the breaker, and bars the candidate when that trips. It reports whether
// it did so now.
func (b *book) judge(candidate, failed bool) bool {
	why := b.breaker.Record(candidate, failed)
	if why == "" || b.barred != "" {
		return false
	}
	b.barred, b.untold = why, why
	b.bar()
	return true
}
