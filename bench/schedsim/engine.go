package main

import (
	"math"
	"slices"
)

// constants of one engine: Qwen3-32B on two H100 under vLLM, as fitted from
// published runs. docs/scheduling.md lists them.
type constants struct {
	Step, Prefill, Attention, Decode, Context float64 // seconds per unit
	KVTokens, StepTokens, Sequences           int
	LoRASlots                                 int
	LoRALoad                                  float64 // seconds, during which the step stands still
}

// blockTokens is the size of a KV block.
const blockTokens = 64

func qwen32B() constants {
	return constants{
		Step: 16.5e-3, Prefill: 46.5e-6, Attention: 2.1e-9, Decode: 4.4e-6, Context: 50e-9,
		KVTokens: 275_000, StepTokens: 8192, Sequences: 256, LoRALoad: 0.3,
	}
}

// engine is one model server as vLLM V1 schedules: running requests first, then
// waiting ones in order, prompts in chunks, blocks shared by content, the last
// running request preempted when blocks run out.
type engine struct {
	constants
	cache   cache
	waiting []*request
	running []*request
	busy    bool
	lora    loraSlots
	stall   float64 // of the step being put together

	preemptions, loads int
	seconds            float64 // busy
}

func newEngine(c constants) *engine {
	e := &engine{constants: c, cache: newCache(c.KVTokens / blockTokens)}
	e.lora.slots = c.LoRASlots
	return e
}

// plan is what one step computes.
type plan struct {
	prefill, attended, context float64
	decodes                    int
}

// begin puts the next step together and returns how long it lasts, 0 when there
// is nothing to do.
func (e *engine) begin(now float64, p *plan) float64 {
	*p = plan{}
	budget := e.StepTokens
	e.stall = 0
	preempted := e.scheduleRunning(&budget, p)
	if !preempted {
		e.scheduleWaiting(now, &budget, p)
	}
	if p.decodes == 0 && p.prefill == 0 {
		return 0
	}
	e.lora.touch(e.running, now)
	d := e.Step + e.Prefill*p.prefill + e.Attention*p.attended + e.Decode*float64(p.decodes) + e.Context*p.context + e.stall
	e.seconds += d
	return d
}

func (e *engine) scheduleRunning(budget *int, p *plan) (preempted bool) {
	for i := 0; i < len(e.running) && *budget > 0; i++ {
		r := e.running[i]
		n := 1
		if r.computed < r.target {
			n = min(*budget, r.target-r.computed)
		}
		for !e.cache.extend(r, r.computed+n) {
			last := e.running[len(e.running)-1]
			e.preempt(last)
			preempted = true
			if last == r {
				return true
			}
		}
		e.compute(r, n, p)
		*budget -= n
	}
	return preempted
}

// preempt sends the last running request back to the head of the queue; all of
// it must be computed again.
func (e *engine) preempt(r *request) {
	e.running = e.running[:len(e.running)-1]
	e.cache.release(r)
	r.computed, r.target = 0, r.prompt+r.generated
	r.ran = false
	e.waiting = slices.Insert(e.waiting, 0, r)
	e.preemptions++
}

func (e *engine) scheduleWaiting(now float64, budget *int, p *plan) {
	for i := 0; i < len(e.waiting) && *budget > 0 && len(e.running) < e.Sequences; {
		r := e.waiting[i]
		if !e.lora.admits(r, e) {
			i++ // those behind it may have a slot
			continue
		}
		hit := e.cache.match(r)
		n := min(*budget, r.target-hit)
		if !e.cache.admit(r, hit, hit+n) {
			return
		}
		if r.cachedAtStart < 0 {
			r.cachedAtStart = hit
		}
		e.lora.load(r, e, now)
		e.waiting = slices.Delete(e.waiting, i, i+1)
		e.running = append(e.running, r)
		r.computed = hit
		e.compute(r, n, p)
		*budget -= n
	}
}

// compute books n tokens of r in the step.
func (e *engine) compute(r *request, n int, p *plan) {
	r.ran = true
	if r.computed < r.target {
		p.prefill += float64(n)
		p.attended += float64(n) * (float64(r.computed) + float64(n)/2)
		r.computed += n
		return
	}
	p.decodes++
	p.context += float64(r.computed)
	r.computed++
	r.target++
}

// finish ends the step at now and calls token for each request that has one
// more token, then done for those that have all.
func (e *engine) finish(token, done func(*request)) {
	keep := e.running[:0]
	for _, r := range e.running {
		ran := r.ran
		r.ran = false
		if !ran || r.computed < r.target {
			keep = append(keep, r)
			continue
		}
		r.generated++
		token(r)
		if r.generated >= r.output {
			e.cache.release(r)
			done(r)
			continue
		}
		keep = append(keep, r)
	}
	for i := len(keep); i < len(e.running); i++ {
		e.running[i] = nil
	}
	e.running = keep
}

// usage is the part of the KV blocks that running requests hold.
func (e *engine) usage() float64 {
	return 1 - float64(e.cache.free())/float64(e.cache.total)
}

// loraSlots are the adapters an engine has loaded: as many as slots may have
// running requests at once, an idle one gives way to another.
type loraSlots struct {
	slots  int
	loaded map[string]float64 // last use
}

// admits reports whether r's adapter is loaded or could be.
func (l *loraSlots) admits(r *request, e *engine) bool {
	if r.adapter == "" || l.slots == 0 {
		return true
	}
	if _, ok := l.loaded[r.adapter]; ok || len(l.loaded) < l.slots {
		return true
	}
	return len(e.activeAdapters()) < l.slots
}

// load makes r's adapter resident.
func (l *loraSlots) load(r *request, e *engine, now float64) {
	if r.adapter == "" || l.slots == 0 {
		return
	}
	if l.loaded == nil {
		l.loaded = map[string]float64{}
	}
	if _, ok := l.loaded[r.adapter]; !ok {
		if len(l.loaded) >= l.slots {
			l.evict(e.activeAdapters())
		}
		e.loads++
		e.stall += e.LoRALoad
	}
	l.loaded[r.adapter] = now
}

// touch notes that a step computes for these requests: to vLLM each step is a
// use of its adapters (set_active_adapters of vllm/lora/worker_manager.py).
func (l *loraSlots) touch(running []*request, now float64) {
	if l.slots == 0 {
		return
	}
	for _, r := range running {
		if r.ran && r.adapter != "" {
			l.loaded[r.adapter] = now
		}
	}
}

func (l *loraSlots) evict(active map[string]bool) {
	oldest, at := "", math.Inf(1)
	for name, used := range l.loaded {
		if !active[name] && (used < at || used == at && name < oldest) {
			oldest, at = name, used
		}
	}
	delete(l.loaded, oldest)
}

// activeAdapters are those with running requests.
func (e *engine) activeAdapters() map[string]bool {
	active := map[string]bool{}
	for _, r := range e.running {
		if r.adapter != "" {
			active[r.adapter] = true
		}
	}
	return active
}
