package sim

import (
	"slices"
	"time"
)

// begin chooses the batch of the next step and returns how long it takes.
func (e *Engine) begin(now time.Duration) time.Duration {
	e.batch, e.active = e.batch[:0], e.active[:0]
	budget, preempted := e.proceed(e.limits.MaxBatchedTokens)
	// Whoever was just pushed out stands at the head of the queue: admitting
	// anyone now would take the blocks that the others are short of.
	if !preempted {
		e.admit(now, budget)
	}
	if len(e.batch) == 0 {
		return 0
	}
	e.counts.Steps++
	return e.cost()
}

// proceed gives the running sequences, in order, the tokens they can use.
func (e *Engine) proceed(budget int) (left int, preempted bool) {
	for i := 0; i < len(e.running) && budget > 0; i++ {
		s := e.running[i]
		n := min(s.known()-s.computed, budget)
		for !e.reserve(s, n) {
			preempted = true
			if victim := e.preemptLast(); victim == s {
				return budget, true
			}
		}
		e.schedule(s, n)
		budget -= n
	}
	return budget, preempted
}

// admit moves waiting sequences into the batch, first come first served. It
// stops at the first that does not fit, but steps over those whose adapter has
// no slot: they wait for others to finish, not for space.
func (e *Engine) admit(now time.Duration, budget int) {
	left := e.waiting[:0]
	for i, s := range e.waiting {
		if budget == 0 || len(e.running) >= e.limits.MaxNumSeqs {
			left = append(left, e.waiting[i:]...)
			break
		}
		if !e.slotFor(s.adapter) {
			left = append(left, s)
			continue
		}
		n, ok := e.place(s, budget)
		if !ok {
			left = append(left, e.waiting[i:]...)
			break
		}
		e.countAdmission(s, now)
		e.running = append(e.running, s)
		e.schedule(s, n)
		budget -= n
	}
	clear(e.waiting[len(left):])
	e.waiting = left
}

// slotFor tells whether an adapter can be in this step's batch.
func (e *Engine) slotFor(adapter string) bool {
	return adapter == "" || len(e.active) < e.limits.MaxLoRAs || slices.Contains(e.active, adapter)
}

// place finds a waiting sequence its cached prefix and the blocks for the first
// chunk after it, and returns the length of that chunk.
func (e *Engine) place(s *sequence, budget int) (chunk int, ok bool) {
	size := e.limits.BlockSize
	// At least one token is computed: the next one follows from its output.
	usable := min(len(s.names), (s.known()-1)/size)
	e.match = e.pool.match(e.match[:0], s.names[:usable])
	hit := e.match
	computed := len(hit) * size
	chunk = min(s.known()-computed, budget)
	if ceilDiv(computed+chunk, size)-len(hit) > e.pool.free()-e.pool.unheld(hit) {
		return 0, false
	}
	e.pool.hold(hit)
	s.blocks, s.computed = append(s.blocks[:0], hit...), computed
	return chunk, e.reserve(s, chunk)
}

// countAdmission notes when s was first admitted and what the prefix cache gave
// then. A later admission, after a preemption, would mostly find its own blocks.
func (e *Engine) countAdmission(s *sequence, now time.Duration) {
	if s.cached != unknown {
		return
	}
	s.admitted, s.cached = now, s.computed
	e.counts.PrefixQueries += int64(s.prompt)
	e.counts.PrefixHits += int64(s.cached)
}

// reserve makes sure that s has blocks for n more computed tokens.
func (e *Engine) reserve(s *sequence, n int) bool {
	need := ceilDiv(s.computed+n, e.limits.BlockSize) - len(s.blocks)
	if need > e.pool.free() {
		return false
	}
	for ; need > 0; need-- {
		s.blocks = append(s.blocks, e.pool.take())
	}
	return true
}

// preemptLast sends the last admitted sequence back to the head of the queue.
// It is never part of the batch yet: the batch is filled in order of admission.
func (e *Engine) preemptLast() *sequence {
	last := len(e.running) - 1
	s := e.running[last]
	e.running = e.running[:last]
	e.pool.release(s.blocks)
	s.blocks, s.computed = s.blocks[:0], 0
	e.waiting = slices.Insert(e.waiting, 0, s)
	e.counts.Preemptions++
	return s
}

// schedule puts n tokens of s into the batch. Its full prompt blocks can be
// shared from here on: within a step, keys and values are written before they
// are read.
func (e *Engine) schedule(s *sequence, n int) {
	s.step = n
	e.batch = append(e.batch, s)
	if s.adapter != "" && !slices.Contains(e.active, s.adapter) {
		e.active = append(e.active, s.adapter)
	}
	size := e.limits.BlockSize
	for b := s.computed / size; b < len(s.names) && (b+1)*size <= s.computed+n; b++ {
		e.pool.publish(s.blocks[b], s.names[b])
	}
}

// cost is the duration of a step over the batch; see Timing.
func (e *Engine) cost() time.Duration {
	t := e.timing
	d := t.Step
	var pairs, context float64
	for _, s := range e.batch {
		if s.decoding() {
			d += t.Decode
			context += float64(s.known())
			continue
		}
		d += time.Duration(s.step) * t.PrefillToken
		pairs += float64(s.step) * (float64(s.computed) + float64(s.step)/2)
	}
	loads := e.slots.load(e.active)
	e.counts.AdapterLoads += int64(loads)
	d += time.Duration(loads) * t.AdapterLoad
	d += time.Duration(pairs*t.PrefillContext + context*t.DecodeContext)
	return max(d, 1) // zero would mean "nothing to do"
}

// finish books the step in flight.
func (e *Engine) finish(now time.Duration) {
	e.events = e.events[:0]
	done := false
	for _, s := range e.batch {
		if s.gone {
			continue
		}
		s.computed += s.step
		s.step = 0
		if s.computed < s.known() {
			continue
		}
		ev := e.advance(s, now)
		done = done || ev.Done
		e.events = append(e.events, ev)
	}
	e.batch = e.batch[:0]
	if done {
		e.running = slices.DeleteFunc(e.running, func(s *sequence) bool { return s.gone })
	}
}

// advance gives s the token that its computed tokens lead to.
func (e *Engine) advance(s *sequence, now time.Duration) Event {
	ev := Event{ID: s.id, Prompt: s.prompt, Cached: s.cached}
	if s.generated == 0 {
		e.counts.PromptTokens += int64(s.prompt)
		ev.First, ev.Gap, s.first = true, now-s.arrived, now
	} else {
		ev.Gap = now - s.last
	}
	s.last = now
	if s.output > 0 {
		s.generated++
		e.counts.OutputTokens++
	}
	ev.Tokens = s.generated
	if s.generated == s.output {
		ev.Done = true
		ev.Times = Times{
			Queued:  s.admitted - s.arrived,
			Prefill: s.first - s.admitted,
			Decode:  s.last - s.first,
			Total:   s.last - s.arrived,
		}
		e.forget(s)
	}
	return ev
}

// forget frees what s holds. Its prefix stays in the pool until evicted.
func (e *Engine) forget(s *sequence) {
	s.gone = true
	e.pool.release(s.blocks)
	s.blocks = nil
	delete(e.byID, s.id)
}
