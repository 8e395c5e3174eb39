package tally

import (
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/routing"
)

// Pair counts a request of stable beside the copy of it that the candidate answered.
// a is the rollout that had it mirrored.
//
// Only events are compared. A copy is read by nobody who could be slow, runs on a
// candidate that has nothing else to do, and is cut at a limit of its own, so its
// times would say more of that than of the version.
//
// An answer as long as the limit for copies may have been cut by it, and is compared
// by nothing but whether it failed; so is its pair, whichever of the two it was.
func (b *Books) Pair(a *routing.Assignment, stable, candidate *llm.Outcome, now time.Time) {
	if a == nil || !a.Watched {
		return
	}
	s, c := factsOf(stable), factsOf(candidate)
	if left := kindOf(stable.Reason) == left || kindOf(candidate.Reason) == left; left {
		return // it is not known how it would have ended
	}
	both := s.asked & c.asked
	if a.Shadow != nil && a.Shadow.MaxTokens > 0 && max(stable.Report.Tokens, candidate.Report.Tokens) >= a.Shadow.MaxTokens {
		both &= 1 << errored
	}
	both &^= 1 << aborted
	if both == 0 {
		return
	}
	x := b.book(attempt{a.Rollout, a.Attempt}, now)
	defer b.leave(x)
	x.roll(b.number(now), now)
	x.window.used = true
	for e := range numEvents {
		if both.has(e) {
			count(&x.window.pairs[e], s.had.has(e), c.had.has(e))
		}
	}
}

func count(p *rollout.Pairs, stable, candidate bool) {
	switch {
	case stable == candidate:
		p.Same++
	case candidate:
		p.Worse++
	default:
		p.Better++
	}
}
