package scheduling

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "the one seed of TestBooksBalance and TestBooksBalanceConcurrently; 0: the first ones")
	seedsFlag = flag.Uint64("seeds", 40, "how many seeds TestBooksBalance tries")
)

// TestBooksBalance runs random histories and compares the books with their twin after
// each event. Whatever order things happen in, nothing counted is ever less than
// nothing or more than what is in flight, every call that waits is told once how that
// ended, and nothing is left when all have ended. A history that fails is cut down to
// the events that it takes.
func TestBooksBalance(t *testing.T) {
	first, seeds := uint64(1), *seedsFlag
	if *seedFlag != 0 {
		first, seeds = *seedFlag, 1
	}
	for seed := first; seed < first+seeds; seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			events := someEvents(rand.New(rand.NewPCG(seed, 0)))
			if play(seed, events).failed == nil {
				return
			}
			events = shrink(events, func(few []event) bool { return play(seed, few).failed != nil })
			h := play(seed, events)
			t.Fatalf("-seed %d: %v\n%s", seed, h.failed, strings.Join(h.trail, "\n"))
		})
	}
}

// event is one thing that happens. What it draws comes of its own seed, so that it
// stays what it is when events before it are left out.
type event struct {
	do   func(*story, *rand.Rand)
	seed uint64
}

func someEvents(r *rand.Rand) []event {
	kinds := []struct {
		share int
		do    func(*story, *rand.Rand)
	}{
		{30, (*story).call}, {14, (*story).firstToken}, {8, (*story).someTokens}, {22, (*story).end}, {4, (*story).retry},
		{5, (*story).leave}, {6, (*story).scrape}, {3, (*story).hear}, {2, (*story).publish}, {2, (*story).retain},
		{2, (*story).look}, {1, (*story).tell}, {1, (*story).turnTheClock},
	}
	var lots []func(*story, *rand.Rand)
	for _, k := range kinds {
		for range k.share {
			lots = append(lots, k.do)
		}
	}
	events := make([]event, 600)
	for i := range events {
		events[i] = event{lots[r.IntN(len(lots))], r.Uint64()}
	}
	return events
}

// shrink leaves out what it can of the events as long as they fail.
func shrink(events []event, fails func([]event) bool) []event {
	for size, before := len(events)/2, len(events); size > 0; {
		for i := 0; i+size <= len(events); {
			if few := slices.Delete(slices.Clone(events), i, i+size); fails(few) {
				events = few
			} else {
				i += size
			}
		}
		if size > 1 || len(events) == before {
			size /= 2
		}
		before = len(events)
	}
	return events
}

// story is a Scheduler to which things happen.
type story struct {
	s    *Scheduler
	twin booksTwin
	now  time.Time
	// published are the pools of the last snapshots, the newest last; the scheduler may
	// not have been told of that yet.
	published [][]*routing.Pool
	waiting   []*waitingCall
	ended     []*Reservation
	trail     []string
	failed    error
}

// waitingCall is one that was offered and had to wait.
type waitingCall struct {
	*Waiting
	call      *Call
	told      int
	cancelled bool
}

func play(seed uint64, events []event) (h *story) {
	r := rand.New(rand.NewPCG(seed, 1))
	o := Options{Rand: r, Share: r.IntN(2) == 0, PrefixBytes: []int{0, 300 * bytesPerBlock}[r.IntN(2)]}
	o.Queue = QueueOptions{Calls: []int{0, 3, 30, 30}[r.IntN(4)], For: []time.Duration{0, time.Second, 100 * time.Hour}[r.IntN(3)]}
	h = &story{s: New(o), now: time.Unix(1000, 0)}
	defer func() {
		if fault := recover(); fault != nil {
			h.failed = fmt.Errorf("%v\n%s", fault, debug.Stack())
		}
	}()
	h.publish(r)
	for _, e := range events {
		r := rand.New(rand.NewPCG(e.seed, 0))
		h.now = h.now.Add(time.Duration(r.IntN(100)) * time.Millisecond)
		e.do(h, r)
		if h.check(); h.failed != nil {
			return h
		}
	}
	h.finish()
	return h
}

func (h *story) note(format string, args ...any) {
	h.trail = append(h.trail, h.now.UTC().Format("04:05.000 ")+fmt.Sprintf(format, args...))
}

func (h *story) fail(format string, args ...any) {
	if h.failed == nil {
		h.failed = fmt.Errorf(format, args...)
	}
}

// check compares everything there is.
func (h *story) check() {
	if err := errors.Join(h.twin.compare(h.s), soundScheduler(h.s)); err != nil {
		h.fail("%w", err)
	}
	queued, waits := 0, 0
	for p := range h.twin.pools(h.s) {
		queued += p.queue.count
		for _, e := range p.endpoints {
			var w work
			if e.load.at(p.seconds(h.now), &p.engine, &w); !someOrNone(&w) {
				h.fail("%s is taken to have %+v", e.address, w)
			}
		}
	}
	for _, w := range h.waiting {
		switch {
		case w.told == 0 && !w.cancelled:
			waits++
		case w.told > 1 || w.told > 0 && w.cancelled:
			h.fail("a call was told %d times how its wait ended, cancelled: %v", w.told, w.cancelled)
		}
	}
	if queued != waits {
		h.fail("%d calls wait, %d in the books", waits, queued)
	}
}

// finish ends all calls; those that wait get their places, or are told that there are
// none. Then nothing may be left.
func (h *story) finish() {
	for rounds := 0; len(h.twin.booked) > 0 || h.waits() > 0; rounds++ {
		for len(h.twin.booked) > 0 {
			b := h.twin.booked[0]
			h.twin.end(b)
			b.End(EndResult{At: h.now})
		}
		h.now = h.now.Add(time.Minute) // what others have told is believed no more
		h.look(nil)
		if rounds > 1000 {
			h.fail("%d calls wait for idle endpoints", h.waits())
			return
		}
	}
	h.check()
	for _, p := range h.s.pools {
		if o := &p.observed; o.queued < o.placed {
			h.fail("%d calls were queued and %d placed", o.queued, o.placed)
		}
	}
	h.published = nil
	h.s.Retain(snapshotOf())
	if n := len(h.s.pools) + len(h.s.servers.byAddress); n != 0 {
		h.fail("%d pools and servers outlive the snapshot", n)
	}
}

func (h *story) waits() (n int) {
	for _, w := range h.waiting {
		if w.told == 0 && !w.cancelled {
			n++
		}
	}
	return n
}

// somePool is one of a snapshot's that a request may have: the newest or, now and then,
// one of before.
func (h *story) somePool(r *rand.Rand) *routing.Pool {
	i := len(h.published) - 1
	if r.IntN(6) == 0 {
		i = r.IntN(i + 1)
	}
	return h.published[i][r.IntN(len(h.published[i]))]
}

func (h *story) call(r *rand.Rand) {
	h.offer(randomCall(r, h.now), h.somePool(r))
}

func (h *story) offer(call *Call, pool *routing.Pool) {
	w := &waitingCall{call: call}
	d, waiting, err := h.s.Offer(call, pool, func(d Decision, err error) {
		w.told++
		h.answered(call, d, err)
	})
	if waiting != nil {
		w.Waiting = waiting
		h.waiting = append(h.waiting, w)
		h.note("%s of %q waits for %s", describe(call), call.Flow, pool.ID)
		return
	}
	h.answered(call, d, err)
}

func describe(c *Call) string {
	return fmt.Sprintf("call of %s, priority %d, tried %v, chosen %q", c.Model, c.Priority, c.Tried, c.Chosen)
}

// answered takes over the end of an Offer or of a wait.
func (h *story) answered(call *Call, d Decision, err error) {
	var full *SaturatedError
	switch {
	case err == nil:
		h.note("%s goes to %s, stream %v", describe(call), d.Endpoint.Address, d.Reservation.stream)
		h.twin.book(d.Reservation)
	case errors.Is(err, ErrExhausted), errors.Is(err, ErrNoEndpoints):
		h.note("%s: %v", describe(call), err)
	case errors.As(err, &full):
		h.note("%s: %v", describe(call), err)
		if full.RetryAfter < time.Second || full.RetryAfter > time.Minute {
			h.fail("try again in %s", full.RetryAfter)
		}
	default:
		h.fail("%w", err)
	}
}

// booked draws a booking, nil when there is none.
func (h *story) booked(r *rand.Rand) *booking {
	if len(h.twin.booked) == 0 {
		return nil
	}
	return h.twin.booked[r.IntN(len(h.twin.booked))]
}

func (h *story) firstToken(r *rand.Rand) {
	if b := h.booked(r); b != nil {
		h.note("first token at %s", b.endpoint.address)
		b.hasAnswered = true
		b.FirstToken(h.now)
	}
}

func (h *story) someTokens(r *rand.Rand) {
	if b := h.booked(r); b != nil {
		n := r.IntN(500) - 10
		h.note("%d tokens at %s", n, b.endpoint.address)
		b.report(float64(n))
		b.Tokens(n)
	}
}

// end ends a call, or for once one that has ended.
func (h *story) end(r *rand.Rand) {
	if len(h.ended) > 0 && r.IntN(8) == 0 {
		again := h.ended[r.IntN(len(h.ended))]
		h.note("again the end of one at %s", again.endpoint.address)
		again.FirstToken(h.now)
		again.Tokens(1000)
		again.End(EndResult{At: h.now, Failed: true})
		return
	}
	h.endOne(r, r.IntN(5) == 0)
}

func (h *story) endOne(r *rand.Rand, failed bool) *booking {
	b := h.booked(r)
	if b == nil {
		return nil
	}
	usage := llm.Usage{Known: r.IntN(2) == 0}
	if usage.Known {
		usage.PromptTokens, usage.CompletionTokens = r.IntN(2000), r.IntN(500)
		usage.CachedTokens = r.IntN(1 + usage.PromptTokens)
	}
	h.note("end at %s, failed %v, usage %+v", b.endpoint.address, failed, usage)
	h.twin.end(b)
	h.ended = append(h.ended, b.Reservation)
	b.End(EndResult{At: h.now, Failed: failed, Usage: usage})
	return b
}

// retry has an endpoint fail and another be asked, as the proxy does.
func (h *story) retry(r *rand.Rand) {
	b := h.endOne(r, true)
	if b == nil {
		return
	}
	call := randomCall(r, h.now)
	call.Tried, call.Chosen = append(call.Tried, b.endpoint.address), ""
	h.offer(call, h.somePool(r))
}

// leave has a client leave the queue, or try to.
func (h *story) leave(r *rand.Rand) {
	if len(h.waiting) == 0 {
		return
	}
	w := h.waiting[r.IntN(len(h.waiting))]
	if w.Cancel() {
		h.note("%s of %q waits no more", describe(w.call), w.call.Flow)
		if w.cancelled {
			h.fail("a wait ended twice")
		}
		w.cancelled = true
	} else if w.told == 0 && !w.cancelled {
		h.fail("a call that waits cannot be cancelled")
	}
}

func (h *story) scrape(r *rand.Rand) {
	address, at := fmt.Sprintf("e%d", r.IntN(9)), h.now.Add(-time.Duration(r.IntN(2000))*time.Millisecond)
	m := randomMetrics(r, at)
	h.note("scrape of %s: %+v", address, m)
	h.s.Observe(address, m)
}

func (h *story) hear(r *rand.Rand) {
	news := randomNews(r, h.s, h.now)
	h.note("news of %s", news.Origin)
	h.s.Merge(news, h.now)
}

// publish makes a new snapshot, of which calls may come before the scheduler is told.
func (h *story) publish(r *rand.Rand) {
	pools := randomPools(r)
	for _, p := range pools {
		h.note("published: %s with %v", p.ID, p.Endpoints)
	}
	h.published = append(h.published, pools)
	if n := len(h.published); n > 3 {
		h.published = h.published[n-3:]
	}
}

func (h *story) retain(*rand.Rand) {
	h.note("retain")
	h.s.Retain(snapshotOf(h.published[len(h.published)-1]...))
	for _, p := range h.s.pools {
		for _, e := range p.endpoints {
			if e.left && e.own.requests == 0 {
				h.fail("%s has left and is kept without requests", e.address)
			}
		}
	}
}

// look is what calls that wait do by themselves.
func (h *story) look(*rand.Rand) {
	h.note("look")
	for _, w := range slices.Clone(h.waiting) {
		if w.told == 0 && !w.cancelled {
			w.waiter.look(h.now)
		}
	}
}

// tell reads what can be read.
func (h *story) tell(r *rand.Rand) {
	h.note("news is told")
	h.s.News("me", h.now)
	h.s.Latest(fmt.Sprintf("e%d", r.IntN(9)))
	for _, p := range h.s.Stats() {
		for _, e := range p.Endpoints {
			if e.InFlight < 0 || e.PendingTokens < 0 || e.ContextTokens < 0 || e.KVTokens < 0 {
				h.fail("%s %s: %+v", p.ID, e.Address, e)
			}
		}
	}
	for _, x := range h.s.Explained() {
		_ = x.String()
	}
}

func (h *story) turnTheClock(r *rand.Rand) {
	h.now = h.now.Add([]time.Duration{-10 * time.Second, -2 * time.Hour, time.Hour, 3 * time.Second}[r.IntN(4)])
	h.note("the clock jumps")
}

// randomPools are those of a snapshot: addresses are shared, some pools are missing,
// some are empty and one is no model server's.
func randomPools(r *rand.Rand) []*routing.Pool {
	var pools []*routing.Pool
	for i, id := range []string{"one", "two", "plain"} {
		if i > 0 && r.IntN(4) == 0 {
			continue
		}
		p := testPool(id)
		p.Inference = id != "plain"
		few := r.IntN(2) == 0
		for i := range 8 {
			if i == 0 && r.IntN(20) > 0 || r.IntN(2) == 0 && !few {
				e := routing.Endpoint{Address: fmt.Sprintf("e%d", i)}
				if r.IntN(6) == 0 {
					e.Models = []string{"lora1", "base"}
				}
				p.Endpoints = append(p.Endpoints, e)
			}
		}
		pools = append(pools, p)
	}
	return pools
}

// randomNews is another gateway's, now and then of a stranger.
func randomNews(r *rand.Rand, s *Scheduler, now time.Time) News {
	if r.IntN(2) == 0 {
		return s.News(fmt.Sprintf("gateway%d", r.IntN(3)), now)
	}
	return News{Origin: fmt.Sprintf("gateway%d", r.IntN(100)), Pools: []PoolNews{{ID: "one", Endpoints: []EndpointNews{{
		Address: fmt.Sprintf("e%d", r.IntN(10)), Requests: r.IntN(20) - 5, Prefills: r.IntN(20) - 5, Pending: r.IntN(9000) - 100,
		Context: r.IntN(90_000), KV: r.IntN(90_000), Adapters: []string{"lora1", "unknown"}, Blocks: []uint64{r.Uint64(), r.Uint64()},
	}}}}}
}

func randomMetrics(r *rand.Rand, now time.Time) Metrics {
	return Metrics{
		At: now, Waiting: r.IntN(5), Running: r.IntN(20), KVUsage: r.Float64(), Blocks: r.IntN(2) * 1000, BlockSize: 16,
		MaxAdapters: r.IntN(4), ActiveAdapters: []string{fmt.Sprintf("lora%d", r.IntN(6))}, Adapters: []string{"lora0", "lora1"},
	}
}

func randomCall(r *rand.Rand, now time.Time) *Call {
	call := &Call{
		Model: fmt.Sprintf("lora%d", r.IntN(6)), At: now, Explain: r.IntN(4) == 0,
		Priority: r.IntN(3) - 1, Flow: fmt.Sprint(r.IntN(3)),
	}
	if r.IntN(10) > 0 {
		prompt := make([]byte, r.IntN(5000)*(1+11*r.IntN(2)))
		for i := r.IntN(8) * blockBytes; i < len(prompt); i++ { // what comes before is common to many
			prompt[i] = byte(r.IntN(3))
		}
		call.Request = &llm.Request{Stream: r.IntN(2) == 0, Prompt: prompt, MaxTokens: r.IntN(100)}
	}
	switch r.IntN(12) {
	case 0, 1:
		call.Tried = []string{fmt.Sprintf("e%d", r.IntN(8))}
	case 2:
		call.Chosen = fmt.Sprintf("e%d", r.IntN(9))
	case 3:
		call.Flow = fmt.Sprint("flow ", r.IntN(1000))
	}
	return call
}
