package scheduling

import (
	"math"

	"crossfade.dev/internal/llm"
)

// parts is how long something takes by the priors, split as calibration wants
// it: so many steps with decodes requests that attend to context tokens, and
// so many prompt tokens computed meanwhile.
func parts(steps, decodes, context, prompt, attended float64) [3]float64 {
	return [3]float64{
		factorStep:    priorStep * steps,
		factorPrefill: priorPrefill*prompt + priorAttention*attended,
		factorContext: steps * (priorRequest*decodes + priorContext*context),
	}
}

// expectFirst is the parts of the time until the first token of a call that is
// about to be booked at e; 0 where something else than the engine's speed would
// decide it.
func (p *pool) expectFirst(e *endpoint, uncached, cached, now float64) [3]float64 {
	var w work
	e.load.at(now, &p.engine, &w)
	if w.kv+uncached > kvReserve*e.kvTokens || len(e.adapters.list) > 0 || e.health.probation {
		return [3]float64{}
	}
	ahead := w.pending + uncached
	decodes := max(0, w.requests-w.prefills)
	steps := math.Ceil(ahead / max(leastPrefill, stepTokens-decodes))
	if w.requests > 0 {
		steps += 0.5 // of the step that is running
	}
	attended := w.pending*typicalContext + uncached*(cached+uncached/2)
	return parts(steps, decodes, w.context, ahead, attended)
}

// learnFirst takes the time until the first token as a sample of the engine.
func (p *pool) learnFirst(r *Reservation, now float64) {
	p.observed.first(r.uncached, now-r.begun)
	p.learn(now-r.begun, r.expected)
}

// leastDecoded is the length of an answer from which it says how fast an engine
// decodes.
const leastDecoded = 32

// learnRest takes the time from the first token to the end as a sample.
func (p *pool) learnRest(r *Reservation, now float64, u llm.Usage) {
	tokens := r.streamed
	if u.Known {
		tokens = float64(u.CompletionTokens)
	}
	if !r.stream || !r.answered || tokens < leastDecoded {
		return
	}
	e := r.endpoint
	var end work
	e.load.at(now, &p.engine, &end)
	decodes := (max(0, r.first.work.requests-r.first.work.prefills) + max(0, end.requests-end.prefills)) / 2
	context := (r.first.work.context + end.context) / 2
	prompt := e.computed - r.first.computed
	p.learn(now-r.first.at, parts(tokens-1, decodes, context, prompt, prompt*typicalContext))
}

func (p *pool) learn(seconds float64, x [3]float64) {
	if p.options.Uncalibrated {
		return
	}
	p.learned.learn(seconds, x)
	p.engine = newEngine(p.learned.factors)
}

// learnUsage takes over what an answer reported of its tokens.
func (p *pool) learnUsage(r *Reservation, u llm.Usage) {
	p.means.learn(r.promptBytes, u)
	e := r.endpoint
	answer := r.streamed
	if u.Known {
		answer = float64(u.CompletionTokens)
		p.observed.used(u)
	}
	if r.promptBytes == 0 {
		return
	}
	blockTokens := p.means.blockTokens()
	// What the engine wrote took room in its cache as well.
	n := int(answer / blockTokens)
	p.prefixes.addAnonymous(n, e.slot)
	e.untoldAnswers += n
	if u.Known && u.CachedTokens > 0 {
		p.reportsCached = true
	}
	if u.Known && p.reportsCached {
		e.cache.learn(r.prompt-r.uncached, float64(u.CachedTokens))
	}
	p.sizeCache(e)
}
