package tally

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"hash/maphash"
	"sync"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// DefaultWindow is the length of a window: that of the ticks at which counts are read.
const DefaultWindow = 5 * time.Second

// Options of Books.
type Options struct {
	// Window is the length of a window; 0: DefaultWindow.
	Window time.Duration
	// Pools returns what is known of the endpoints of each pool, by Pool.ID; nil:
	// nothing is.
	Pools func() map[string][]Endpoint
	// Warm returns how many warm-up requests each endpoint of an attempt's candidate
	// has answered, by address, and whether their latency has become steady; nil:
	// there are no warm-ups.
	Warm func(rollout string, attempt int64) (map[string]int, bool)
	// Barred is told when the breaker stops a candidate; nil: nobody is.
	Barred func(rollout string, attempt int64, why string)
}

// An Endpoint is what is known of one endpoint.
type Endpoint struct {
	Address string
	Ready   bool // it may be sent requests
	// Known says that the server has reported the rest.
	Known            bool
	Running, Waiting int
	KV               float64 // use of the cache, 0 … 1
}

// A Part is what a request has to do with one rollout.
type Part struct {
	Assignment *routing.Assignment // nil: nothing
	routing.Place
	// Failed is why the candidate failed before the first byte of an answer, Rescued
	// why it was given up for stable, whose the Outcome then is; "" is neither. Of a
	// request that was rescued without having failed on this rollout's candidate, the
	// Outcome belongs to neither version.
	Failed, Rescued string
	// Ticket is what Arrive has returned.
	Ticket uint64
}

// moved reports that the candidate was given up for stable.
func (p *Part) moved() bool {
	return p.Candidate && p.Rescued != "" && (p.Failed != "" || p.Rescued == llm.ReasonRolloutCancelled)
}

// Books are the counts of one gateway process. They are safe for concurrent use.
type Books struct {
	opts  Options
	epoch string
	start time.Time
	seed  maphash.Seed

	mu    sync.RWMutex
	books map[attempt]*book
}

// New returns empty Books, whose first window begins now.
func New(opts Options, now time.Time) *Books {
	if opts.Window <= 0 {
		opts.Window = DefaultWindow
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return &Books{opts: opts, epoch: hex.EncodeToString(id[:]), start: now, seed: maphash.MakeSeed(), books: map[attempt]*book{}}
}

// number is the number of the window that an instant falls into.
func (b *Books) number(now time.Time) int64 { return int64(now.Sub(b.start) / b.opts.Window) }

// Adopt prepares for a snapshot; call it before it is published. Candidates that were
// barred stay so in it, while their attempt is watched. Attempts that it has no part of
// are forgotten a minute later, or at once when another one of their rollout has come,
// when their last request has ended.
func (b *Books) Adopt(s *routing.Snapshot, now time.Time) {
	parts, present := map[attempt][]Split{}, map[string]bool{}
	for _, x := range Splits(s) {
		a := attempt{x.Assignment.Rollout, x.Assignment.Attempt}
		parts[a] = append(parts[a], x)
		present[a.rollout] = true
	}
	for a, splits := range parts {
		x := b.book(a, now)
		x.adopt(splits, now)
		x.mu.Unlock()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for a, x := range b.books {
		x.mu.Lock()
		if _, ok := parts[a]; !ok {
			x.adopt(nil, now)
			if present[a.rollout] {
				x.absent = time.Time{} // it will not come back
			}
		}
		b.forget(x, now)
		x.mu.Unlock()
	}
}

// forget throws a book away that nothing is left of. Both are locked.
func (b *Books) forget(x *book, now time.Time) {
	if x.idle(now) {
		x.gone = true
		delete(b.books, x.attempt)
	}
}

// book returns the book of an attempt, locked, a new one if there is none.
func (b *Books) book(a attempt, now time.Time) *book {
	for {
		b.mu.RLock()
		x := b.books[a]
		b.mu.RUnlock()
		if x == nil {
			b.mu.Lock()
			if x = b.books[a]; x == nil {
				x = newBook(a, now, b.number(now))
				b.books[a] = x
			}
			b.mu.Unlock()
		}
		x.mu.Lock()
		if !x.gone {
			return x
		}
		x.mu.Unlock()
	}
}

func (b *Books) of(p *Part, now time.Time) *book {
	return b.book(attempt{p.Assignment.Rollout, p.Assignment.Attempt}, now)
}

// leave unlocks a book, and tells if its candidate has been barred.
func (b *Books) leave(x *book) {
	why := x.untold
	x.untold = ""
	x.mu.Unlock()
	if why != "" && b.opts.Barred != nil {
		b.opts.Barred(x.attempt.rollout, x.attempt.number, why)
	}
}

// session is the hash of a request's key, 0 without one.
func (b *Books) session(p *Part) uint64 {
	if p.How != routing.ByKey {
		return 0
	}
	return maphash.String(b.seed, p.Key)
}

// Arrive counts a request that is about to be sent to the side it was assigned to. It
// returns the Part's Ticket. Close must follow.
func (b *Books) Arrive(p Part, o *llm.Outcome, now time.Time) (ticket uint64) {
	if p.Assignment == nil {
		return 0
	}
	session := b.session(&p)
	x := b.of(&p, now)
	defer x.mu.Unlock()
	x.inFlight[armOf(&p.Place)]++
	if p.How != routing.Pinned {
		x.arrivals[armOf(&p.Place)]++
	}
	return x.await(&p, o, session, now)
}

// Rescued tells that stable was asked instead of the candidate: from now on the
// request is in flight there.
func (b *Books) Rescued(p Part, now time.Time) {
	if p.Assignment == nil {
		return
	}
	x := b.of(&p, now)
	defer x.mu.Unlock()
	x.awaited(p.Ticket) // what comes now is no version's first byte, or another one's
	if p.moved() {
		x.inFlight[0]--
		x.inFlight[1]++
	}
}

// Failed tells that a request has failed on the candidate before the first byte of
// an answer.
func (b *Books) Failed(p Part, now time.Time) { b.record(&p, true, now) }

// FirstByte tells that an answer with this status begins to arrive.
func (b *Books) FirstByte(p Part, status int, now time.Time) {
	if p.Failed == "" && p.Rescued == "" {
		b.record(&p, status >= 500, now)
	}
}

// record tells the breaker of the outcome before the first byte. Requests that are
// pinned say nothing: whoever chooses a side may choose what it fails at. Nor do those
// that have told it by being late.
func (b *Books) record(p *Part, failed bool, now time.Time) {
	if p.Assignment == nil || !p.Assignment.Watched || p.How == routing.Pinned {
		return
	}
	x := b.of(p, now)
	defer b.leave(x)
	w, late := x.awaited(p.Ticket)
	if !failed {
		x.hear(&w, now)
	}
	if !late && x.judge(p.Candidate, failed) {
		p.Assignment.Bar() // it may be of an older snapshot
	}
}

// Close counts a request that has ended. It is one of the window that it ends in.
func (b *Books) Close(p Part, o *llm.Outcome) {
	if p.Assignment == nil {
		return
	}
	b.unheard(&p, o)
	session := b.session(&p)
	x := b.of(&p, o.End)
	defer b.leave(x)
	x.roll(b.number(o.End), o.End)
	_, late := x.awaited(p.Ticket)
	delete(x.waiting, p.Ticket)
	if p.moved() {
		x.inFlight[1]--
	} else {
		x.inFlight[armOf(&p.Place)]--
	}
	if p.How != routing.Pinned && p.Assignment.Watched && !o.Start.Before(x.renewed) {
		x.close(&p, o, session, late)
	}
}

// unheard tells the breaker of requests that ended without a first byte: failures of
// stable, which nobody is told of before, and answers without a body.
func (b *Books) unheard(p *Part, o *llm.Outcome) {
	if !o.FirstByte.IsZero() || p.Failed != "" || p.Rescued != "" {
		return
	}
	switch k := kindOf(o.Reason); {
	case k == failed && !p.Candidate:
		b.record(p, true, o.End)
	case k == answered, k == rejected:
		b.record(p, false, o.End)
	}
}

// ErrNotRunning says that a rollout has no attempt under way here.
var ErrNotRunning = errors.New("the rollout has no attempt under way at this gateway")

// byHand is what is said of a candidate that was barred by Bar.
const byHand = "stopped by hand at this gateway"

// Bar stops sending to the candidate of a rollout (namespace/name), for as long as its
// attempt is under way. It returns ErrNotRunning when none is.
func (b *Books) Bar(rollout string) error {
	b.mu.RLock()
	defer b.mu.RUnlock()
	err := ErrNotRunning
	for a, x := range b.books {
		if a.rollout != rollout {
			continue
		}
		x.mu.Lock()
		if x.watched() {
			err = nil
			if x.barred == "" {
				x.barred = byHand
			}
			x.bar()
		}
		x.mu.Unlock()
	}
	return err
}
