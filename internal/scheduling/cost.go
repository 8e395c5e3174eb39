package scheduling

import (
	"fmt"
	"math"
)

// Objective says what a pool's endpoints are chosen for.
type Objective string

// Objectives; the zero value is Balanced.
const (
	TTFT     Objective = "ttft"     // the soonest first token of this call
	Balanced Objective = "balanced" // first tokens and whole answers, of all calls
	E2E      Objective = "e2e"      // the soonest end of answers, of all calls
)

// weights say how much of each delay counts beside computing the call's own
// prompt.
type weights struct {
	ahead   float64 // of computing the prompts ahead of it
	decode  float64 // of this call's answer, by requests that decode beside it
	prompts float64 // and by prompts to come
	harm    float64 // of others
	copy    float64 // of computing again what another endpoint has
}

// weights returns what did best in simulation (docs/scheduling.md).
func (o Objective) weights() weights {
	w := weights{ahead: 6, decode: 0.6, prompts: 0.7, harm: 0.1, copy: 0.5}
	switch o {
	case TTFT:
		w.decode, w.prompts, w.harm = 0, 0, 0
	case E2E:
		w.decode, w.prompts, w.harm = 1, 2, 0.3
	}
	return w
}

// ParseObjective returns the objective called name; "" is Balanced.
func ParseObjective(name string) (Objective, error) {
	switch o := Objective(name); o {
	case "":
		return Balanced, nil
	case TTFT, Balanced, E2E:
		return o, nil
	}
	return "", fmt.Errorf("objective %q is not ttft, balanced or e2e", name)
}

// demand is what a call asks of an endpoint, as estimated for its pool.
type demand struct {
	prompt  float64 // tokens
	output  float64 // tokens, expected
	adapter int32   // noAdapter for none
	best    float64 // most prompt tokens that any endpoint has
}

// The terms of the cost, each in seconds.
const (
	termQueue  = iota // prompts ahead, and the steps until the first token
	termPrefix        // computing what is not cached of the prompt
	termKV            // until the KV cache has room
	termSlot          // until the engine runs one request less
	termLoRA          // until the adapter is loaded
	termDecode        // how much others slow the answer, weighed
	termHarm          // what others lose, weighed
	termCopy          // caching again what another endpoint has
	termCount
)

func termNames() [termCount]string {
	return [termCount]string{"queue", "prefix", "kv", "slot", "lora", "decode", "harm", "copy"}
}

type terms [termCount]float64

// stalled is the wait for requests to end where none is known to run.
const stalled = 5

// bid is what a call costs at one endpoint, but for how it would decode there: that is
// compared with how it would elsewhere (pace.go).
type bid struct {
	index int32 // of p.order
	// full: the call would have to wait inside the engine for others to end,
	// or for more than a few steps. noSlot: it is for want of an adapter slot alone.
	full, noSlot bool
	seconds      float64
	pace         pace
}

// price sets out to what a call costs at an endpoint that has the work w, and parts
// to what that consists of, unless it is nil. cached tokens of the prompt are in its
// cache, or will be: coming of the pending ones are of them, which the call waits for but
// would otherwise compute. The adapter's part is for lora.go. This runs for each endpoint
// of each decision.
func (p *pool) price(d *demand, l *load, w *work, cached, coming float64, out *bid, parts *terms) {
	e, weigh := &p.engine, &p.weights
	uncached := max(1, d.prompt-cached)
	decodes := max(0, w.requests-w.prefills)
	step := e.stepSeconds(decodes, w.context)

	// A prompt that fits into one step, as most do, needs no division.
	steps, room := 1.0, max(leastPrefill, stepTokens-decodes)
	if ahead := w.pending + uncached; ahead > room {
		steps = math.Ceil(ahead / room)
	}
	queue := (e.prefill+e.attention*typicalContext)*(weigh.ahead*(w.pending-coming)+coming) + steps*step
	prefix := uncached * (e.prefill + e.attention*(cached+uncached/2))
	kv, slot := 0.0, 0.0
	over, surplus := w.kv+uncached-kvReserve*l.kvTokens, w.requests+1-l.slots
	out.full = w.requests > 0 && (over > 0 || w.pending > 2*stepTokens || l.slots > 0 && surplus > 0)
	if out.full {
		ends := decodes / max(1, d.output*step) // requests per second
		if over > 0 {
			kv = wait(math.Ceil(over/max(1, w.kv/w.requests)), ends)
		}
		if l.slots > 0 && surplus > 0 {
			slot = wait(surplus, ends)
		}
	}
	harm := weigh.harm * w.requests * uncached * e.prefill
	again := weigh.copy * max(0, d.best-cached) * e.prefill

	out.noSlot = false
	// Those that wait for their first token now will decode beside this call.
	out.pace.level = e.request*w.requests + e.context*w.context
	out.seconds = ((queue + prefix) + (kv + slot)) + (harm + again) // in pairs, side by side
	if parts != nil {
		*parts = terms{termQueue: queue, termPrefix: prefix, termKV: kv, termSlot: slot, termHarm: harm, termCopy: again}
	}
}

// wait is the time until n requests have ended, at ends per second.
func wait(n, ends float64) float64 {
	if ends <= 0 {
		return stalled
	}
	return n / ends
}
