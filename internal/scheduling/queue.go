package scheduling

import (
	"cmp"
	"container/heap"
	"fmt"
	"math"
	"slices"
	"time"
)

// QueueOptions say how calls wait when every endpoint of their pool is full.
type QueueOptions struct {
	// Calls is how many may wait in one pool; 0: none waits, and full
	// endpoints are given more.
	Calls int
	// For is the longest wait; 0 means DefaultQueueFor.
	For time.Duration
}

// DefaultQueueFor is how long a call waits for a place.
const DefaultQueueFor = 60 * time.Second

// A SaturatedError refuses a call (429) because every endpoint of its pool is
// full, and so is the queue, or the call has waited for too long.
type SaturatedError struct {
	// RetryAfter is when there should be room, from 1 to 60 s.
	RetryAfter time.Duration
	// Waited: it was in the queue.
	Waited bool
}

func (e *SaturatedError) Error() string {
	if e.Waited {
		return fmt.Sprintf("every endpoint is full and the wait for a place has ended; try again in %s", e.RetryAfter)
	}
	return fmt.Sprintf("every endpoint is full and so is the queue; try again in %s", e.RetryAfter)
}

// queue holds the calls of one pool that wait for a place: by priority, and
// among equals so that each flow gets the same share of prompt tokens. That is
// start-time fair queueing: a call's turn comes after as many tokens as its flow
// has asked for before.
type queue struct {
	options *QueueOptions
	bands   []*band // highest priority first; none is empty
	count   int
	number  uint64
	latest  float64 // instant
}

// band is the waiting calls of one priority.
type band struct {
	priority int
	waiters  waiters
	virtual  float64            // turn of the last one served
	flows    map[string]float64 // where a flow's next turn begins, if after virtual
	tidyAt   int                // flows are tidied when there are more
}

// waiter is a call that waits.
type waiter struct {
	pool   *pool
	call   *Call
	prefix []uint64
	band   *band
	index  int // in band.waiters; -1 when it waits no more
	turn   float64
	cost   float64
	number uint64
	since  float64               // instant
	until  float64               // instant
	notify func(Decision, error) // nil: by answer
	answer chan grant            // has room for one
}

// grant is the end of a wait.
type grant struct {
	waiter   *waiter
	decision Decision
	err      error
}

func (g grant) tell() {
	if g.waiter.notify != nil {
		g.waiter.notify(g.decision, g.err)
		return
	}
	g.waiter.answer <- g
}

// late is the error of a wait that was too long.
func (w *waiter) late() error {
	w.pool.mu.Lock()
	defer w.pool.mu.Unlock()
	return &SaturatedError{RetryAfter: w.pool.retryAfter(), Waited: true}
}

func (q *queue) enabled() bool { return q.options.Calls > 0 }

// before reports whether calls wait that come before a new one of a priority.
func (q *queue) before(priority int) bool {
	return q.count > 0 && q.bands[0].priority >= priority
}

// band returns that of a priority.
func (q *queue) band(priority int) *band {
	i, found := slices.BinarySearchFunc(q.bands, priority, func(b *band, want int) int { return cmp.Compare(want, b.priority) })
	if !found {
		q.bands = slices.Insert(q.bands, i, &band{priority: priority, flows: map[string]float64{}})
	}
	return q.bands[i]
}

func (q *queue) push(w *waiter) {
	b := q.band(w.call.Priority)
	w.band = b
	w.turn = max(b.virtual, b.flows[w.call.Flow]) + w.cost
	b.flows[w.call.Flow] = w.turn
	q.number++
	w.number = q.number
	heap.Push(&b.waiters, w)
	q.count++
}

// remove takes a waiter out; served says that its turn has come.
func (q *queue) remove(w *waiter, served bool) {
	b := w.band
	heap.Remove(&b.waiters, w.index)
	q.count--
	if served {
		b.virtual = max(b.virtual, w.turn-w.cost)
	}
	if len(b.waiters) == 0 {
		q.bands = slices.DeleteFunc(q.bands, func(other *band) bool { return other == b })
		return
	}
	if !served {
		b.moveUp(w)
	}
	b.tidy()
}

// moveUp gives the flow of a call that leaves without having been served the tokens
// back that it asked for: the calls behind it come as much earlier.
func (b *band) moveUp(gone *waiter) {
	flow := gone.call.Flow
	var behind []*waiter
	for _, w := range b.waiters {
		if w.call.Flow == flow && w.number > gone.number {
			behind = append(behind, w)
		}
	}
	slices.SortFunc(behind, func(a, b *waiter) int { return cmp.Compare(a.number, b.number) })
	end := gone.turn - gone.cost
	for _, w := range behind {
		w.turn = min(w.turn, max(b.virtual, end)+w.cost) // never later than it was
		end = w.turn
	}
	if len(behind) > 0 {
		heap.Init(&b.waiters)
	}
	// Some behind it may have been served before it, and count as ever.
	b.flows[flow] = max(end, b.flows[flow]-gone.cost)
	if b.flows[flow] <= b.virtual {
		delete(b.flows, flow)
	}
}

// mostIdleFlows is how many flows without a waiting call a band remembers. Whoever
// sends a call names its flow, so there may be a new one with each.
const mostIdleFlows = 1024

// tidy forgets flows that nothing is to be remembered of, and when there are too many
// all that have no call waiting.
func (b *band) tidy() {
	if len(b.flows) <= b.tidyAt {
		return
	}
	for flow, turn := range b.flows {
		if turn <= b.virtual {
			delete(b.flows, flow)
		}
	}
	if len(b.flows) > len(b.waiters)+mostIdleFlows {
		waiting := make(map[string]float64, len(b.waiters))
		for _, w := range b.waiters {
			waiting[w.call.Flow] = b.flows[w.call.Flow]
		}
		b.flows = waiting
	}
	b.tidyAt = 2*len(b.flows) + 16
}

// last returns the waiter that is the first to go when there are too many: of
// the lowest priority the one whose turn is last.
func (q *queue) last() *waiter {
	b := q.bands[len(q.bands)-1]
	return slices.MaxFunc(b.waiters, compareTurns)
}

func compareTurns(a, b *waiter) int {
	return cmp.Or(cmp.Compare(a.turn, b.turn), cmp.Compare(a.number, b.number))
}

// wait puts a call into the queue, in somebody's place if it must and may.
func (p *pool) wait(call *Call, prefix []uint64, now float64, notify func(Decision, error)) (*waiter, error) {
	q := &p.queue
	p.expire(now)
	if q.count >= q.options.Calls {
		last := q.last()
		p.observed.refused++
		if last.call.Priority >= call.Priority {
			return nil, &SaturatedError{RetryAfter: p.retryAfter()}
		}
		q.remove(last, false)
		p.grant(last, Decision{}, &SaturatedError{RetryAfter: p.retryAfter(), Waited: true})
	}
	wait := cmp.Or(q.options.For, DefaultQueueFor).Seconds()
	w := &waiter{
		pool: p, call: call, prefix: slices.Clone(prefix), notify: notify,
		cost: max(1, p.demand(call).prompt), since: now, until: now + wait,
	}
	if notify == nil {
		w.answer = make(chan grant, 1)
	}
	q.push(w)
	p.observed.queued++
	return w, nil
}

func (p *pool) grant(w *waiter, d Decision, err error) {
	p.granted = append(p.granted, grant{w, d, err})
}

const (
	// drainTries is how many waiting calls of one priority are tried in a row
	// before the others are taken to be as unlucky.
	drainTries = 4
	// Calls that wait for a slot for their adapter say nothing of others. As many
	// are passed over as take slotLooks looks at endpoints, but slotTries at most.
	slotTries = 64
	slotLooks = 4096
)

// drain gives free places to those who wait.
func (p *pool) drain(now float64) {
	q := &p.queue
	q.latest = max(q.latest, now)
	if q.count == 0 {
		return
	}
	p.expire(now)
	if p.current != nil {
		p.align(p.current)
	}
	for p.drainOne(now) {
	}
}

// drainOne places one waiting call and reports whether it could.
func (p *pool) drainOne(now float64) bool {
	for _, b := range p.queue.bands {
		tries, slots := drainTries, min(slotTries, slotLooks/max(1, len(p.order)))
		for i := 0; i < len(b.waiters) && tries > 0; i++ {
			w := b.waiters[i]
			decision, waits, err := p.place(w.call, w.prefix, now, true)
			switch {
			case waits == holdSlot && slots > 0:
				slots--
				continue
			case waits != holdNone:
				tries--
				continue
			}
			p.queue.remove(w, err == nil)
			if err == nil {
				p.observed.placed++
				p.observed.waited += max(0, now-w.since)
			}
			p.grant(w, decision, err)
			return true
		}
	}
	return false
}

// expire refuses those who have waited for too long.
func (p *pool) expire(now float64) {
	for i := len(p.queue.bands) - 1; i >= 0; i-- {
		var late []*waiter
		for _, w := range p.queue.bands[i].waiters {
			if now >= w.until {
				late = append(late, w)
			}
		}
		for _, w := range late {
			p.queue.remove(w, false)
			p.observed.refused++
			p.grant(w, Decision{}, &SaturatedError{RetryAfter: p.retryAfter(), Waited: true})
		}
	}
}

func (p *pool) refuseAll(err error) {
	for p.queue.count > 0 {
		w := p.queue.bands[0].waiters[0]
		p.queue.remove(w, false)
		p.grant(w, Decision{}, err)
	}
}

// retryAfter estimates when those who wait now will have places.
func (p *pool) retryAfter() time.Duration {
	ends := 0.0 // per second
	for _, e := range p.order {
		var w work
		e.load.at(p.queue.latest, &p.engine, &w)
		ends += w.requests / max(1, p.means.output*p.engine.stepSeconds(w.requests, w.context))
	}
	seconds := math.Ceil(float64(p.queue.count+1) / max(0.01, ends))
	return time.Duration(max(1, min(60, seconds))) * time.Second
}

// cancel ends a wait; false when it has ended already. late says that it was too
// long, rather than that nobody waits any more.
func (w *waiter) cancel(late bool) bool {
	w.pool.mu.Lock()
	defer w.pool.unlock()
	if w.index < 0 {
		return false
	}
	w.pool.queue.remove(w, false)
	if late {
		w.pool.observed.refused++
	}
	return true
}

// waiters is a heap by turn.
type waiters []*waiter

func (h waiters) Len() int           { return len(h) }
func (h waiters) Less(i, j int) bool { return compareTurns(h[i], h[j]) < 0 }
func (h waiters) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *waiters) Push(x any) {
	w := x.(*waiter)
	w.index = len(*h)
	*h = append(*h, w)
}

func (h *waiters) Pop() any {
	old := *h
	last := len(old) - 1
	w := old[last]
	old[last] = nil
	*h = old[:last]
	w.index = -1
	return w
}
