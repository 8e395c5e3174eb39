package scheduling

import "crossfade.dev/internal/llm"

// observed is what a pool's calls have had, for metrics.
type observed struct {
	prompt, expected uint64 // tokens picked for, and of them believed cached
	reported, cached uint64 // tokens of prompts whose answers told what was cached, and of them cached
	firsts           [len(firstBins) + 1]FirstTokens
}

// firstBins are the bounds of uncached tokens by which times until the first
// token are kept apart: a pool with cold caches is not a slow pool.
var firstBins = [...]int{256, 1024, 4096, 16384}

// FirstTokens are the times until the first token of calls of one kind.
type FirstTokens struct {
	// UpTo uncached prompt tokens, as estimated; 0: any more.
	UpTo    int     `json:"upTo,omitempty"`
	Count   uint64  `json:"count"`
	Seconds float64 `json:"seconds"` // sum
}

func (o *observed) picked(d *demand, cached float64) {
	o.prompt += uint64(d.prompt)
	o.expected += uint64(cached)
}

func (o *observed) used(u llm.Usage) {
	o.reported += uint64(max(0, u.PromptTokens))
	o.cached += uint64(max(0, u.CachedTokens))
}

func (o *observed) first(uncached, seconds float64) {
	bin := 0
	for bin < len(firstBins) && int(uncached) > firstBins[bin] {
		bin++
	}
	o.firsts[bin].Count++
	o.firsts[bin].Seconds += max(0, seconds)
}

// firstTokens returns the times with their bounds.
func (o *observed) firstTokens() []FirstTokens {
	out := make([]FirstTokens, 0, len(o.firsts))
	for i, f := range o.firsts {
		if i < len(firstBins) {
			f.UpTo = firstBins[i]
		}
		out = append(out, f)
	}
	return out
}
