package rollout

import (
	"strings"
	"testing"
	"time"
)

// TestHarmNamesItsStratum: a candidate that is half as slow again with prompts of one
// length alone is aborted, and the message says which latency it is and which length.
func TestHarmNamesItsStratum(t *testing.T) {
	for metric, slow := range map[string]func(*world){
		TTFT: func(w *world) { w.arms[0].ttft = w.arms[0].ttft * 3 / 2 },
		TPOT: func(w *world) { w.arms[0].tpot = w.arms[0].tpot * 3 / 2 },
	} {
		plan := &Plan{Name: "llm/chat", Stable: "v1", Candidate: "v2", Steps: []PlanStep{{Kind: SetShare, Share: 500}, {Kind: Hold, Min: time.Hour}}}
		plan.Complete()
		well, bad := newWorld(), newWorld()
		slow(bad)
		state, at := &State{}, time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)
		for range 240 {
			from := at
			at = at.Add(5 * time.Second)
			o, other := well.window(state, from, at), bad.window(state, from, at)
			for name, strata := range o.Samples {
				if Measured(name) {
					strata["<2k"], strata["<8k"] = strata[""], other.Samples[name][""]
					delete(strata, "")
				}
			}
			if state, _ = Step(plan, state, Event{At: at, Observation: o}); state.Phase == Aborting {
				break
			}
		}
		if state.Phase != Aborting {
			t.Errorf("%s: after 20 minutes it is %s", metric, state.Phase)
			continue
		}
		if why := state.Message; !strings.HasPrefix(why, metric+":") || !strings.HasSuffix(why, "most in stratum <8k") {
			t.Errorf("aborted for %s", why)
		}
	}
}
