package rollout

import (
	"math"
	"testing"
)

// TestBudgetIsShared: whatever is watched, those that abort have the error budget
// together and not more; one that only looks on takes nothing from them.
func TestBudgetIsShared(t *testing.T) {
	for name, guardrails := range map[string][]Guardrail{
		"default":      nil,
		"one":          {{Name: LoopingAnswer}},
		"errors alone": {{Name: ErrorRate, Max: 0.05}},
		"limits":       {{Name: ErrorRate, Max: 0.05}, {Name: E2E, Max: 0.1}, {Name: ContentFilter}},
		"onlookers":    {{Name: TTFT}, {Name: ErrorRate, DryRun: true}, {Name: TPOT, Class: Soft}, {Name: E2E, Class: Info}, {Name: "judge", External: true}},
	} {
		p := &Plan{Analysis: Analysis{Guardrails: guardrails}}
		p.Complete()
		a, sum := &p.Analysis, 0.0
		for i := range a.Guardrails {
			g := &a.Guardrails[i]
			alpha := a.budget(g).Alpha
			if !(alpha > 0 && alpha <= a.Alpha) {
				t.Errorf("%s: %s has %v of %v", name, g.Name, alpha, a.Alpha)
			}
			if !g.shares() {
				continue
			}
			if g.Max > 0 {
				alpha *= 2 // two tests
			}
			sum += alpha
		}
		if math.Abs(sum-a.Alpha) > 1e-12 {
			t.Errorf("%s: parts add up to %v, want %v", name, sum, a.Alpha)
		}
	}
}
