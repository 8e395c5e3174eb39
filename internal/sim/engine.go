package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Engine is the scheduler and cost model of one vLLM V1 engine. It computes
// nothing but who gets which tokens when. All instants are durations on a clock
// the caller keeps; Engine starts no goroutine and is not safe for concurrent
// use.
type Engine struct {
	limits Limits
	timing Timing

	nextID  uint64
	byID    map[uint64]*sequence
	waiting []*sequence // head first; preempted sequences come back to the head
	running []*sequence // in order of admission
	batch   []*sequence // what the step in flight computes
	active  []string    // distinct adapters of the batch
	pool    *kvPool
	slots   adapterSlots
	counts  Counters

	events []Event
	match  []int32 // scratch of place
}

// Work is one sequence to compute.
type Work struct {
	Prompt  []uint32 // token numbers, at least one; not kept
	Adapter string   // LoRA adapter, or "" for the base model
	Output  int      // tokens to generate; 0 only computes the prompt
}

// Event is what a step did for one sequence.
type Event struct {
	ID     uint64
	Tokens int  // generated so far
	First  bool // Gap is the time since Submit, not since the last token
	Gap    time.Duration
	Done   bool
	Prompt int // prompt tokens
	Cached int // of these, found in the prefix cache when first admitted
	Times  Times
}

// Times are the phases of a finished sequence; valid in an Event that is Done.
type Times struct {
	Queued  time.Duration // Submit to first admission
	Prefill time.Duration // first admission to first token
	Decode  time.Duration // first to last token
	Total   time.Duration // Submit to last token
}

// Counters only ever grow.
type Counters struct {
	Steps         int64
	PrefixQueries int64 // prompt tokens looked up in the prefix cache
	PrefixHits    int64 // of these, found
	Preemptions   int64
	PromptTokens  int64 // of sequences whose prefill ended, cached ones included
	OutputTokens  int64
	AdapterLoads  int64
}

// ErrQueueFull is returned by Submit when maxWaiting sequences wait. vLLM's
// queue has no bound; ours must.
var ErrQueueFull = errors.New("too many requests are waiting")

const maxWaiting = 16_384

// NewEngine makes an idle engine. The adapters are resident from the start as
// far as slots allow, later ones pushing earlier ones out. limits must be
// complete (see Config).
func NewEngine(limits Limits, timing Timing, adapters ...string) *Engine {
	e := &Engine{
		limits: limits,
		timing: timing,
		byID:   make(map[uint64]*sequence),
		pool:   newKVPool(limits.Blocks),
		slots:  adapterSlots{max: limits.MaxLoRAs},
	}
	if limits.MaxLoRAs > 0 {
		for _, a := range adapters {
			e.slots.load([]string{a})
		}
	}
	return e
}

// Submit queues work that arrived at the given instant and returns its number.
// It fails when the engine could never finish the work, or with ErrQueueFull.
func (e *Engine) Submit(arrived time.Duration, w Work) (uint64, error) {
	switch {
	case len(w.Prompt) == 0:
		return 0, errors.New("the prompt is empty")
	case len(w.Prompt)+w.Output > e.limits.MaxModelLen:
		return 0, fmt.Errorf("%d prompt and %d output tokens exceed the limit of %d",
			len(w.Prompt), w.Output, e.limits.MaxModelLen)
	case w.Adapter != "" && e.limits.MaxLoRAs == 0:
		return 0, errors.New("LoRA is not enabled")
	case len(e.waiting) >= maxWaiting:
		return 0, ErrQueueFull
	}
	e.nextID++
	s := &sequence{
		id: e.nextID, adapter: w.Adapter, prompt: len(w.Prompt), output: w.Output,
		cached: unknown, arrived: arrived,
	}
	if !e.limits.NoPrefixCaching {
		// The same text under another adapter has other keys and values.
		s.names = blockHashes(w.Prompt, e.limits.BlockSize, hashString(0, w.Adapter))
	}
	e.byID[s.id] = s
	e.waiting = append(e.waiting, s)
	return s.id, nil
}

// Cancel removes a sequence at once and frees what it holds; a step in flight
// still lasts as long as it was going to. It reports whether there was one.
func (e *Engine) Cancel(id uint64) bool {
	s, ok := e.byID[id]
	if !ok {
		return false
	}
	e.forget(s)
	is := func(x *sequence) bool { return x == s }
	e.waiting = slices.DeleteFunc(e.waiting, is)
	e.running = slices.DeleteFunc(e.running, is)
	return true
}

// Step ends the step in flight, whose results are the events, and begins the
// next one, which lasts d. A d of zero means that there is nothing to do until
// the next Submit. The caller passes now = (now of the call before) + d while
// the engine is busy. The events are valid until the next call.
func (e *Engine) Step(now time.Duration) (d time.Duration, events []Event) {
	e.finish(now)
	return e.begin(now), e.events
}

// Empty reports whether no sequence waits or runs.
func (e *Engine) Empty() bool { return len(e.byID) == 0 }

// SetTiming changes the coefficients from the next step on.
func (e *Engine) SetTiming(t Timing) { e.timing = t }

// Unload frees the slot of an adapter; sequences that use it go on.
func (e *Engine) Unload(adapter string) { e.slots.drop(adapter) }

// Stats is a picture of the engine between two steps.
type Stats struct {
	Counters
	Running, Waiting int
	KVUsage          float64  // share of the blocks that sequences hold, 0 to 1
	RunningAdapters  []string // distinct, in order of admission
	WaitingAdapters  []string
	Resident         []string // adapters in slots, least recently used first
}

// Stats reads the engine's state.
func (e *Engine) Stats() Stats {
	return Stats{
		Counters:        e.counts,
		Running:         len(e.running),
		Waiting:         len(e.waiting),
		KVUsage:         float64(e.pool.size-e.pool.free()) / float64(e.pool.size),
		RunningAdapters: adaptersOf(e.running),
		WaitingAdapters: adaptersOf(e.waiting),
		Resident:        slices.Clone(e.slots.resident),
	}
}

func adaptersOf(seqs []*sequence) []string {
	var names []string
	for _, s := range seqs {
		if s.adapter != "" && !slices.Contains(names, s.adapter) {
			names = append(names, s.adapter)
		}
	}
	return names
}
