package rehearsal

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"crossfade.dev/internal/rollout"
	"github.com/google/go-cmp/cmp"
)

func plan(steps ...rollout.PlanStep) *rollout.Plan {
	p := &rollout.Plan{Name: "chat/qwen3", Target: "HTTPRoute chat/llm[]", Stable: "InferencePool chat/v1", Candidate: "InferencePool chat/v2", Steps: steps}
	p.Complete()
	return p
}

func play(t *testing.T, p *rollout.Plan, traffic Traffic, seed uint64) Result {
	t.Helper()
	r, err := New(p, traffic, seed)
	if err != nil {
		t.Fatal(err)
	}
	return r.Play(24*time.Hour, nil)
}

func TestHealthyIsPromoted(t *testing.T) {
	got := play(t, plan(), Traffic{}, 1)
	if got.Phase != rollout.Promoted || got.Candidate == 0 || got.Exposed < 25*time.Minute {
		t.Errorf("%+v", got)
	}
	if again := play(t, plan(), Traffic{}, 1); !cmp.Equal(got, again) {
		t.Errorf("the same seed gives %+v, then %+v", got, again)
	}
}

func TestBadIsAborted(t *testing.T) {
	for name, traffic := range map[string]Traffic{
		"errors": {Candidate: Arm{Errors: 0.2}},
		"ttft":   {Candidate: Arm{TTFT: 400 * time.Millisecond}},
	} {
		if got := play(t, plan(), traffic, 1); got.Phase != rollout.Aborted || got.Reason != "GuardrailFailed" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestLittleTrafficEnds checks that a plan that cannot get its data ends paused.
func TestLittleTrafficEnds(t *testing.T) {
	if got := play(t, plan(), Traffic{Rate: 0.01}, 1); got.Phase != rollout.Paused || got.Reason != "InsufficientData" {
		t.Errorf("%+v", got)
	}
}

func TestGatesMirrorsAndProviders(t *testing.T) {
	p := plan(rollout.PlanStep{Kind: rollout.Mirror, Percent: 50, Pairs: 300, Max: time.Hour}, rollout.PlanStep{Kind: rollout.SetShare, Share: 500},
		rollout.PlanStep{Kind: rollout.Gate}, rollout.PlanStep{Kind: rollout.SetShare, Share: rollout.Whole})
	p.Analysis.Guardrails = append(p.Analysis.Guardrails, rollout.Guardrail{Name: "judge", External: true, Low: 3, High: math.MaxFloat64})
	p.Complete()
	if got := play(t, p, Traffic{}, 1); got.Phase != rollout.Promoted || got.Gates != 1 {
		t.Errorf("%+v", got)
	}
}

func TestBadTrafficIsRefused(t *testing.T) {
	for _, bad := range []Traffic{{Rate: -1}, {Rate: math.NaN()}, {Rate: math.Inf(1)}, {Stable: Arm{Errors: 2}}, {Candidate: Arm{Errors: math.NaN()}}, {Stable: Arm{TTFT: -1}}, {Stable: Arm{Endpoints: -1}}} {
		if _, err := New(plan(), bad, 1); err == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

// TestDraws compares draws with what they are to be on average.
func TestDraws(t *testing.T) {
	w := world{Rand: rand.New(rand.NewPCG(1, 2))}
	for _, p := range []float64{0, 0.004, 0.3, 1} {
		got := w.tally(100_000, p)
		if d := math.Abs(float64(got.Events) - 100_000*p); d > 5*math.Sqrt(100_000*p*(1-p)) {
			t.Errorf("%d of %d events at %g", got.Events, got.Units, p)
		}
	}
	h := w.histogram(time.Second, 50_001)
	if n := h.Above(-1); n.Units != 50_001 {
		t.Errorf("%d units of 50001", n.Units)
	}
}
