package scheduling

import "crossfade.dev/internal/llm"

// observed is what a pool's calls have had, for metrics.
type observed struct {
	prompt, expected uint64 // tokens picked for, and of them believed cached
	reported, cached uint64 // tokens of prompts whose answers told what was cached, and of them cached
	firsts           [len(firstBins) + 1]FirstTokens

	queued, placed, refused uint64  // calls that had to wait, and what became of them
	waited                  float64 // seconds, of those placed
	ejections               uint64
}

// firstBins are the bounds of uncached tokens by which times until the first
// token are kept apart: a pool with cold caches is not a slow pool.
var firstBins = [...]int{256, 1024, 4096, 16384}

// firstBounds divide times until the first token, in seconds.
var firstBounds = [...]float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

// FirstTokenBounds returns the bounds of FirstTokens.Buckets, in seconds.
func FirstTokenBounds() []float64 { return firstBounds[:len(firstBounds):len(firstBounds)] }

// FirstTokens are the times until the first token of calls of one kind.
type FirstTokens struct {
	// UpTo uncached prompt tokens, as estimated; 0: any more.
	UpTo    int     `json:"upTo,omitempty"`
	Count   uint64  `json:"count"`
	Seconds float64 `json:"seconds"` // sum
	// Buckets count the calls above the bound before and up to each of
	// FirstTokenBounds; longer ones are in Count alone.
	Buckets [len(firstBounds)]uint64 `json:"buckets"`
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
	f := &o.firsts[bin]
	f.Count++
	f.Seconds += max(0, seconds)
	for i, bound := range firstBounds {
		if seconds <= bound {
			f.Buckets[i]++
			break
		}
	}
}

// Queued counts what became of the calls that had to wait for a place, so far.
type Queued struct {
	Queued uint64 `json:"queued"` // all of them
	Placed uint64 `json:"placed"`
	// Refused: there was no room for them, or they waited for too long.
	Refused uint64  `json:"refused"`
	Seconds float64 `json:"seconds"` // sum of the waits of those placed
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
