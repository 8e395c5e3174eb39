package rollout

import (
	"fmt"
	"math"
	"time"

	"crossfade.dev/internal/rollout/stats"
)

// Report is a rollout in words and numbers, for people. It is made of plan and
// state alone.
type Report struct {
	Name              string
	Phase             Phase
	Number            int64
	Target            string
	Stable, Candidate string
	// At is the last instant the machine saw, Started when the attempt began.
	At, Started time.Time
	// Step and Steps count from 1; Doing is the step in words.
	Step, Steps int
	Doing       string
	Set         Share
	Observed    float64 // candidate's part of the arrivals; NaN: not known
	Verified    bool
	LoadRatio   float64
	InFlight    [2]int64 // of stable, candidate
	// Next is what will happen next, or what is waited for, and Reason one word for
	// it. Waits says that it waits for something that may come by itself. Due is what
	// comes by itself, and when.
	Next   string
	Reason string
	Waits  bool
	// Message says what ended the attempt, or ends it.
	Message string
	Due     Due
	// Plan are all steps, those of before and of to come.
	Plan []StepReport
	// Last is what was seen of the endpoints, and Rate both arms' requests a second.
	Last Latest
	// Unpowered and Drift are as in State.
	Unpowered, Drift bool
	Guardrails       []GuardrailReport
	History          []Record
}

// StepReport is one step and how far the attempt is with it.
type StepReport struct {
	PlanStep
	Done, Current bool
	// Watched of the current step, in observed time.
	Watched time.Duration
}

// GuardrailReport is what is known of one guardrail.
type GuardrailReport struct {
	Name    string
	Class   Class
	DryRun  bool
	Verdict Verdict
	Note    string
	Known   stats.Measurement
	// E is the e-value of harm, Threshold the value at which it fails.
	E, Threshold float64
	// More is about how many more units of the candidate it takes to conclude, at
	// the effect seen so far; 0 when that cannot be said.
	More int64
	// Signals are the parts of a latency's test, in the order of its quantiles.
	Signals []SignalReport
}

// SignalReport is one quantile of a latency, or its limit.
type SignalReport struct {
	Name     string  // "p90" or "above 2s"
	Quantile float64 // 0 of a limit
	Known    stats.Measurement
	// Stable and Candidate are the quantiles lately, for people; 0 is not known. Of
	// OutputTokens a millisecond stands for a token.
	Stable, Candidate time.Duration
}

// Explain returns the report of a state under its plan.
func Explain(plan *Plan, s *State) Report {
	m := &machine{plan: plan, State: s.clone()}
	r := Report{Name: plan.Name, Phase: m.phase(), Number: s.Number, Target: plan.Target, Stable: s.Stable, Candidate: s.Candidate,
		At: s.At, Started: s.Started, Reason: m.reason(), Message: s.Message, Waits: m.Pause == nil && m.Hold != "", Due: m.due(), Plan: m.steps(), Last: s.Last, Unpowered: s.Unpowered, Drift: s.Drift,
		Step: min(s.Step+1, len(s.Steps)), Steps: len(s.Steps), Set: s.Share.Set, Observed: math.NaN(), Verified: s.Share.Verified,
		LoadRatio: m.loadRatio(), InFlight: [2]int64{s.Last.Stable.InFlight, s.Last.Candidate.InFlight}, Next: m.next(), History: s.History}
	if s.Number == 0 {
		r.Stable, r.Candidate = plan.Stable, plan.Candidate
	}
	if part, ok := s.Share.Observed(); ok {
		r.Observed = part
	}
	if step, ok := m.current(); ok {
		r.Doing = step.String()
	}
	for i := range plan.Analysis.Guardrails {
		g := &plan.Analysis.Guardrails[i]
		if b := s.Books[g.Name]; b != nil && b.fits(g) {
			r.Guardrails = append(r.Guardrails, m.explain(g, b))
		}
	}
	return r
}

func (m *machine) explain(g *Guardrail, b *Book) GuardrailReport {
	budget := m.plan.Analysis.budget(g)
	known := b.Measure(g)
	return GuardrailReport{Name: g.Name, Class: g.Class, DryRun: g.DryRun, Verdict: b.Verdict, Note: b.Note, Known: known,
		E: math.Exp(min(known.Harm, 700)), Threshold: 1 / budget.Alpha, More: more(known, budget), Signals: b.reports(g)}
}

func (m *machine) steps() []StepReport {
	out := make([]StepReport, len(m.Steps))
	for i, step := range m.Steps {
		out[i] = StepReport{PlanStep: step, Done: i < m.State.Step, Current: i == m.State.Step && m.Phase.Running()}
		if out[i].Current {
			out[i].Watched = m.Watched
		}
	}
	return out
}

// reports takes a latency's signals apart; a metric of events has only one.
func (b *Book) reports(g *Guardrail) []SignalReport {
	if !g.latency() {
		return nil
	}
	scale := b.scale()
	out := make([]SignalReport, len(b.Signals))
	for i := range b.Signals {
		out[i] = SignalReport{Name: g.signal(i), Known: b.Signals[i].Measure(scale, g.Question)}
		if i >= len(g.Quantiles) {
			continue
		}
		q := g.Quantiles[i]
		out[i].Name, out[i].Quantile = fmt.Sprintf("p%.4g", 100*q), q
		out[i].Stable, _ = b.Lately.Stable.Estimate(q)
		out[i].Candidate, _ = b.Lately.Candidate.Estimate(q)
		if out[i].Stable == 0 || out[i].Candidate == 0 {
			out[i].Stable, out[i].Candidate = 0, 0 // one alone misleads
		}
	}
	return out
}

// more extrapolates: evidence grows in proportion to what is seen.
func more(k stats.Measurement, b stats.Budget) int64 {
	n := k.Table.Candidate.Units
	best := math.Inf(1)
	for _, c := range []struct{ now, want float64 }{{k.Harm, -math.Log(b.Alpha)}, {k.Pass, -math.Log(b.Beta)}} {
		if c.now >= c.want {
			return max(0, b.MinSamples-n)
		}
		if c.now > 0.5 && n > 0 {
			best = min(best, float64(n)*(c.want/c.now-1))
		}
	}
	if math.IsInf(best, 1) || best > 1e9 {
		return 0
	}
	return max(int64(math.Ceil(best)), b.MinSamples-n)
}
