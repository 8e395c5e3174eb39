package tally

import (
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/routing"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// at is the instant so many seconds after noon, when the first window begins.
func at(seconds float64) time.Time { return noon.Add(time.Duration(seconds * float64(time.Second))) }

// watched is an assignment of attempt 3 of llm/chat.
func watched() *routing.Assignment {
	a := &routing.Assignment{Rollout: "llm/chat", Attempt: 3, Revision: 7, Stable: 0, Candidate: 1, Share: 5000, Watched: true}
	a.Seal()
	return a
}

// snapshotOf has one pool, in which a decides between the models v1 and v2.
func snapshotOf(a *routing.Assignment, endpoints ...routing.Endpoint) *routing.Snapshot {
	rule := routing.NewModelRule("InferenceModel llm/chat", "chat", []routing.Target{{Model: "v1", Weight: 1}, {Model: "v2"}}, true, 0)
	rule.Assignment = a
	pool := &routing.Pool{ID: "InferencePool/llm/qwen", Name: "llm/qwen", Inference: true, Rules: map[string]*routing.ModelRule{"chat": rule}, Endpoints: endpoints}
	return &routing.Snapshot{Pools: map[string]*routing.Pool{pool.ID: pool}}
}

// part is a request's place: a session's, or by chance where key is "".
func part(a *routing.Assignment, candidate bool, key string) Part {
	p := Part{Assignment: a, Place: routing.Place{Candidate: candidate, Key: key, How: routing.ByKey}}
	if key == "" {
		p.How = routing.ByChance
	}
	return p
}

// outcome is that of a streamed answer of ten tokens that ended well.
func outcome(end time.Time) *llm.Outcome {
	start := end.Add(-time.Second)
	o := &llm.Outcome{Status: 200, Reason: llm.ReasonOK, Stream: true, Start: start, FirstByte: start.Add(100 * time.Millisecond), End: end}
	o.Report = llm.Report{
		FinishReason: "stop", FirstToken: start.Add(100 * time.Millisecond), LastToken: end, Tokens: 10, ContentEvents: 10, Events: 11, Done: true,
		Gaps: llm.Gaps{Count: 9, Sum: 900 * time.Millisecond, Max: 150 * time.Millisecond},
	}
	return o
}

// ended is an outcome for another reason, before the first byte.
func ended(end time.Time, reason string) *llm.Outcome {
	return &llm.Outcome{Reason: reason, Stream: true, Start: end.Add(-time.Second), End: end}
}

// rolloutOf returns the counts of attempt 3 of llm/chat.
func rolloutOf(c rollout.Counts) rollout.RolloutCounts {
	for _, r := range c.Rollouts {
		if r.Rollout == "llm/chat" && r.Attempt == 3 {
			return r
		}
	}
	return rollout.RolloutCounts{}
}
