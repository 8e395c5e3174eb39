package rollout

import (
	"fmt"
	"math"
	"time"

	"crossfade.dev/internal/rollout/stats"
)

// Metrics the gateway measures itself, by their names in guardrails.
const (
	ErrorRate     = "error-rate"    // failed answers: 5xx, no connection, broken streams
	Rejected      = "rejected"      // requests that the engine finds fault with: 4xx but 408 and 429
	ClientAborts  = "client-abort"  // clients that went away before the end
	TTFT          = "ttft"          // time to the first token
	TPOT          = "tpot"          // time per output token after it
	FinishLength  = "finish-length" // answers cut at their token limit
	OutputTokens  = "output-tokens" // length of answers
	EmptyAnswer   = "empty-answer"  // finished well, without any content
	ContentFilter = "content-filter"

	E2E             = "e2e"               // time to the end of the answer
	SlowestGap      = "slowest-gap"       // the longest wait between two tokens of an answer
	LoopingAnswer   = "looping-answer"    // repeats itself
	InvalidJSON     = "invalid-json"      // of answers that were to be JSON
	InvalidToolCall = "invalid-tool-call" // of answers that call tools
)

// Metrics returns the names of all metrics the gateway measures itself, sorted.
func Metrics() []string {
	return []string{ClientAborts, ContentFilter, E2E, EmptyAnswer, ErrorRate, FinishLength, InvalidJSON, InvalidToolCall,
		LoopingAnswer, OutputTokens, Rejected, SlowestGap, TPOT, TTFT}
}

// Measured reports whether the metric of a name is a quantity of each unit, compared
// at quantiles; the others count units with an event.
func Measured(metric string) bool {
	switch metric {
	case TTFT, TPOT, E2E, SlowestGap, OutputTokens:
		return true
	}
	return false
}

// MaxSteps bounds an expanded plan; a state keeps all of them.
const MaxSteps = 64

// MaxGuardrails bounds the metrics of one rollout.
const MaxGuardrails = 16

// DefaultGuardrails are what a rollout watches when it names none. Few: each hard
// one takes its part of the error budget.
func DefaultGuardrails() []Guardrail {
	return []Guardrail{
		{Name: ErrorRate, Class: Hard, MinSamples: 100},
		{Name: Rejected, Class: Hard},
		{Name: TTFT, Class: Hard},
		{Name: TPOT, Class: Hard},
		{Name: EmptyAnswer, Class: Hard},
		{Name: LoopingAnswer, Class: Hard},
		{Name: InvalidJSON, Class: Hard},
		{Name: InvalidToolCall, Class: Hard},
		{Name: FinishLength, Class: Soft, Question: stats.Question{Direction: stats.EitherIsWorse}},
		{Name: ClientAborts, Class: Soft},
	}
}

// DefaultSteps are those of a rollout that names none: 1, 5, 25, 50 and 100 %.
func DefaultSteps() []PlanStep {
	steps := []PlanStep{{Kind: Warmup, Requests: 10, Max: 10 * time.Minute}}
	for _, share := range []Share{100, 500, 2500, 5000} {
		steps = append(steps, PlanStep{Kind: SetShare, Share: share}, PlanStep{Kind: Hold, Min: 5 * time.Minute, Max: time.Hour})
	}
	return append(steps, PlanStep{Kind: SetShare, Share: Whole}, PlanStep{Kind: Soak, Min: 10 * time.Minute})
}

// Complete fills in defaults. A plan without steps that carry traffic gets those
// of DefaultSteps; one that never reaches Whole is left as it is: its last share
// stays, and the rollout waits there for promote.
func (p *Plan) Complete() {
	if len(p.Steps) == 0 {
		p.Steps = DefaultSteps()
	}
	if p.Abort.DrainTimeout <= 0 {
		p.Abort.DrainTimeout = 10 * time.Minute
	}
	if p.Capacity.MinStablePercent <= 0 {
		p.Capacity.MinStablePercent = 100
	}
	if p.HistoryLimit <= 0 {
		p.HistoryLimit = 10
	}
	p.Analysis.complete()
}

func (a *Analysis) complete() {
	setDefault(&a.Tick, 5*time.Second)
	setDefault(&a.Alpha, 0.01)
	setDefault(&a.Beta, 0.05)
	setDefault(&a.StallTimeout, 15*time.Minute)
	setDefault(&a.Settle, time.Minute)
	if a.OnInsufficient == "" {
		a.OnInsufficient = PolicyHold
	}
	if a.Guardrails == nil {
		a.Guardrails = DefaultGuardrails()
	}
	for i := range a.Guardrails {
		a.Guardrails[i].complete()
	}
}

func setDefault[T time.Duration | float64 | int | int64](v *T, to T) {
	if *v <= 0 {
		*v = to
	}
}

func (g *Guardrail) complete() {
	if g.Class == "" {
		g.Class = Hard
	}
	switch g.Name {
	case TTFT, TPOT, E2E, SlowestGap, OutputTokens:
		if len(g.Quantiles) == 0 {
			g.Quantiles = []float64{0.5, 0.9}
		}
		setDefault(&g.Question.PassMargin, 1.5)
		if g.Name != OutputTokens {
			// Beyond the tolerance, which is a margin of its own: any harm.
			setDefault(&g.Question.HarmMargin, 1)
		}
		g.Loaded = g.Name != OutputTokens
	case ErrorRate:
		setDefault(&g.Question.Negligible, 0.001)
	case Rejected, EmptyAnswer, ContentFilter, LoopingAnswer, InvalidJSON, InvalidToolCall:
		setDefault(&g.Question.Negligible, 0.01)
	}
	switch g.Name {
	case TPOT, SlowestGap, InvalidJSON, InvalidToolCall:
		g.Rare = g.Rare || g.MinSamples <= 0 // else the user wants that many
	}
	if g.Loaded {
		setDefault(&g.MinEndpoints, 2)
		setDefault(&g.Tolerance, 1.1)
	}
	setDefault(&g.Question.HarmMargin, 1.25)
	setDefault(&g.Question.PassMargin, 2)
	setDefault(&g.MinSamples, 50)
}

// Check returns what is wrong with a completed plan, nil if nothing is. Messages
// name the field of the object and a remedy.
func (p *Plan) Check() []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if p.Stable == p.Candidate {
		wrong("spec.candidate: is the same as spec.stable; name the version to roll out")
	}
	if len(p.Steps) > MaxSteps {
		wrong("spec.steps: are %d with ramps expanded, at most %d are allowed; use a larger factor", len(p.Steps), MaxSteps)
	}
	last := Share(0)
	for i, s := range p.Steps {
		if s.Kind != SetShare {
			if s.Max > 0 && s.Max < s.Min {
				wrong("spec.steps: step %d (%s) may last at most %s but lasts at least %s; exchange the two", i+1, s.Kind, Words(s.Max), Words(s.Min))
			}
			continue
		}
		if s.Share < 0 || s.Share > Whole {
			wrong("spec.steps: step %d has a share of %s; use 0 to 100", i+1, s.Share)
		} else if s.Share < last {
			wrong("spec.steps: step %d lowers the share from %s to %s; shares must ascend (abort lowers them)", i+1, last, s.Share)
		}
		last = max(last, s.Share)
	}
	return append(errs, p.Analysis.check()...)
}

func (a *Analysis) check() []error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if a.Alpha >= 0.5 || a.Beta >= 0.5 {
		wrong("spec.analysis: alpha %v and beta %v must be below 0.5; 0.01 and 0.05 are usual", a.Alpha, a.Beta)
	}
	if len(a.Guardrails) > MaxGuardrails {
		wrong("spec.analysis.guardrails: are %d, at most %d are allowed; the more there are, the weaker each is", len(a.Guardrails), MaxGuardrails)
	}
	seen := map[string]bool{}
	for _, g := range a.Guardrails {
		if seen[g.Name] {
			wrong("spec.analysis.guardrails: %s stands there twice; remove one", g.Name)
		}
		seen[g.Name] = true
		if err := g.check(); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (g *Guardrail) check() error {
	q := g.Question
	finite := func(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
	switch {
	case !finite(g.Low) || !finite(g.High) || !finite(g.Max):
		return fmt.Errorf("spec.analysis.guardrails: %s has a bound that is no finite number; write one", g.Name)
	case !(q.HarmMargin >= stats.MinMargin && q.HarmMargin <= stats.MaxMargin):
		return fmt.Errorf("spec.analysis.guardrails: %s tolerates an odds ratio of %v; use %v to %v", g.Name, q.HarmMargin, stats.MinMargin, stats.MaxMargin)
	case !(q.PassMargin > stats.MinMargin && q.PassMargin <= stats.MaxMargin):
		return fmt.Errorf("spec.analysis.guardrails: %s passes up to an odds ratio of %v; use more than %v, up to %v", g.Name, q.PassMargin, stats.MinMargin, stats.MaxMargin)
	case !(q.Negligible >= 0 && q.Negligible < 1):
		return fmt.Errorf("spec.analysis.guardrails: %s has a negligible rate of %v; use a part of 1, such as 0.001", g.Name, q.Negligible)
	case g.Max >= 1 || g.Max < 0:
		return fmt.Errorf("spec.analysis.guardrails: %s has a maximum rate of %v; use a part of 1, such as 0.05", g.Name, g.Max)
	case len(g.Quantiles) > 5:
		return fmt.Errorf("spec.analysis.guardrails: %s has %d quantiles; use at most 5", g.Name, len(g.Quantiles))
	}
	for _, v := range g.Quantiles {
		if !(v > 0 && v < 1) {
			return fmt.Errorf("spec.analysis.guardrails: %s has the quantile %v; use one between 0 and 1", g.Name, v)
		}
	}
	return nil
}
