package rollout

import (
	"testing"
	"time"
)

// TestDue checks what a rollout says it will do by itself, and when.
func TestDue(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	hold := PlanStep{Kind: Hold, Min: 5 * time.Minute, Max: time.Hour}
	share := PlanStep{Kind: SetShare, Share: 2500}
	for name, c := range map[string]struct {
		step   PlanStep
		change func(*Plan, *State)
		want   Due
	}{
		"watching":     {step: hold, want: Due{start.Add(8 * time.Minute), "share 25%"}},
		"last step":    {step: PlanStep{Kind: Soak, Min: 10 * time.Minute}, change: func(_ *Plan, s *State) { s.Steps, s.Share.Set = s.Steps[:1], Whole }, want: Due{start.Add(13 * time.Minute), "promoted"}},
		"gate of time": {step: PlanStep{Kind: Gate, Min: 7 * time.Minute}, want: Due{start.Add(7 * time.Minute), "share 25%"}},
		"no data":      {step: hold, change: func(_ *Plan, s *State) { s.Watched, s.Hold = 6*time.Minute, "InsufficientData" }, want: Due{start.Add(time.Hour), "paused for lack of data"}},
		"no data, abort": {step: hold, change: func(p *Plan, s *State) {
			p.Analysis.OnInsufficient, s.Watched, s.Hold = PolicyAbort, 6*time.Minute, "InsufficientData"
		}, want: Due{start.Add(time.Hour), "abort for lack of data"}},
		"no proof": {step: PlanStep{Kind: Analyze, Min: time.Minute, Max: time.Hour}, change: func(_ *Plan, s *State) { s.Watched, s.Hold = 6*time.Minute, "Inconclusive" }, want: Due{start.Add(time.Hour), "share 25%, even without proof"}},
		"capacity": {step: PlanStep{Kind: SetShare, Share: 500}, change: func(_ *Plan, s *State) { s.Hold = "CapacityLimited" }, want: Due{What: "share 25%"}},
		"warm-up":  {step: PlanStep{Kind: Warmup, Max: 10 * time.Minute}, want: Due{start.Add(10 * time.Minute), "paused unless it is warm"}},
		"deadline": {step: hold, change: func(p *Plan, _ *State) { p.StepDeadline = 6 * time.Minute }, want: Due{start.Add(6 * time.Minute), "paused at its deadline"}},
		"paused":   {step: hold, change: func(_ *Plan, s *State) { s.Pause, s.Phase = &Pause{}, Paused }},
		"over":     {step: hold, change: func(_ *Plan, s *State) { s.Phase = Aborted }},
		"draining": {step: hold, change: func(_ *Plan, s *State) { s.Phase, s.Hold, s.Share.Since = Aborting, "Draining", start }, want: Due{start.Add(10 * time.Minute), "aborted"}},
	} {
		p := &Plan{Name: "ns/a", Stable: "v1", Candidate: "v2", Steps: []PlanStep{c.step, share}}
		p.Complete()
		s := &State{Phase: Analyzing, Key: p.Key(), PlanHash: p.Hash(), At: start.Add(3 * time.Minute), Started: start, StepStarted: start, Steps: p.Steps}
		if c.change != nil {
			c.change(p, s)
		}
		if got := Explain(p, s).Due; got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
