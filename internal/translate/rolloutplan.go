package translate

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/stats"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// PlanOf makes the machine's plan of a rollout, complete with its defaults, and says
// what is wrong with it: each error begins with the field and ends with a remedy
// after a semicolon. A plan with errors must not be followed.
func PlanOf(o *cfv1a1.InferenceRollout) (rollout.Plan, []error) {
	p, _, errs := planOf(o)
	return p, errs
}

// planOf is PlanOf, with the providers the plan needs.
func planOf(o *cfv1a1.InferenceRollout) (rollout.Plan, []Provider, []error) {
	spec := &o.Spec
	p := rollout.Plan{
		Name:     o.Namespace + "/" + o.Name,
		Target:   targetName(o.Namespace, spec.Target),
		Stable:   sideName(o.Namespace, spec.Stable),
		Revision: spec.Candidate.Revision, Candidate: sideName(o.Namespace, spec.Candidate),
		Attempt: spec.Attempt, Paused: spec.Paused,
		Capacity:     rollout.Capacity{Off: spec.Capacity.Mode == "Off", MinStablePercent: int(orZero(spec.Capacity.MinStableCapacityPercent))},
		Abort:        rollout.AbortOptions{Cancel: spec.Abort.InFlight == "Cancel", DrainTimeout: span(spec.Abort.DrainTimeout)},
		StepDeadline: span(spec.Deadlines.Step), TotalDeadline: span(spec.Deadlines.Total),
		HistoryLimit: int(orZero(spec.HistoryLimit)),
	}
	var errs []error
	for i := range spec.Steps {
		steps, err := stepsOf(&spec.Steps[i])
		if err != nil {
			errs = append(errs, fmt.Errorf("spec.steps[%d]: %w", i, err))
		}
		p.Steps = append(p.Steps, steps...)
	}
	p.Analysis = analysisOf(&spec.Analysis)
	errs = append(errs, checkGuardrails(spec.Analysis.Guardrails)...)
	providers, wrong := providersOf(o)
	errs = append(errs, wrong...)
	p.Complete()
	return p, providers, append(errs, p.Check()...)
}

func orZero(n *int32) int32 {
	if n == nil {
		return 0
	}
	return *n
}

func span(d *metav1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return max(d.Duration, 0)
}

func targetName(namespace string, t cfv1a1.RolloutTarget) string {
	switch {
	case t.HTTPRoute != nil:
		return within(fmt.Sprintf("HTTPRoute %s/%s", namespace, t.HTTPRoute.Name), t.HTTPRoute.RuleName)
	case t.ModelRewrite != nil:
		return within(fmt.Sprintf("InferenceModelRewrite %s/%s", namespace, t.ModelRewrite.Name), t.ModelRewrite.Match)
	case t.InferenceModel != nil:
		return fmt.Sprintf("InferenceModel %s/%s", namespace, t.InferenceModel.Name)
	}
	return ""
}

// within names a part of an object, "" the whole.
func within(object, part string) string {
	if part == "" {
		return object
	}
	return object + "[" + part + "]"
}

func sideName(namespace string, s cfv1a1.RolloutSide) string {
	if s.Model != "" {
		return "model " + s.Model
	}
	kind := cmp.Or(s.Kind, kindInferencePool)
	if group := cmp.Or(s.Group, inferenceGroup); group != inferenceGroup {
		kind += "." + group
	}
	return fmt.Sprintf("%s %s/%s", kind, namespace, s.Name)
}

// percentage turns per cent into a share; out of bounds stays so, to be refused.
func percentage(v float64) rollout.Share {
	if !(v >= -1e6 && v <= 1e6) {
		return -100
	}
	return rollout.Share(math.Round(v * 100))
}

// stepsOf returns the machine's steps of one of the object's.
func stepsOf(s *cfv1a1.RolloutStep) ([]rollout.PlanStep, error) {
	switch {
	case s.Warmup != nil:
		if i := slices.IndexFunc(s.Warmup.Requests, func(p cfv1a1.RolloutProbe) bool { return !isObject(p.Body) }); i >= 0 {
			return nil, fmt.Errorf("request %d of the warm-up has a body that is no JSON object; write it as in a call of the model", i+1)
		}
		return []rollout.PlanStep{{Kind: rollout.Warmup, Requests: int(cmp.Or(s.Warmup.MinRequestsPerEndpoint, 10)), Max: cmp.Or(span(s.Warmup.Timeout), 10*time.Minute)}}, nil
	case s.Mirror != nil:
		m := s.Mirror
		return []rollout.PlanStep{{Kind: rollout.Mirror, Percent: int(m.Percent), Pairs: cmp.Or(m.MinPairs, 300), MaxTokens: int(m.MaxTokens), Max: cmp.Or(span(m.MaxDuration), time.Hour)}}, nil
	case s.SetShare != nil:
		return []rollout.PlanStep{{Kind: rollout.SetShare, Share: percentage(s.SetShare.Percent)}}, nil
	case s.Ramp != nil:
		return rampOf(s.Ramp)
	case s.Hold != nil:
		return []rollout.PlanStep{{Kind: rollout.Hold, Min: span(s.Hold.MinDuration), Max: span(s.Hold.MaxDuration)}}, nil
	case s.Analyze != nil:
		least := cmp.Or(span(s.Analyze.MinDuration), 5*time.Minute)
		return []rollout.PlanStep{{Kind: rollout.Analyze, Min: least, Max: cmp.Or(span(s.Analyze.MaxDuration), max(time.Hour, least))}}, nil
	case s.Pause != nil:
		return []rollout.PlanStep{{Kind: rollout.Gate, Min: span(s.Pause.Duration)}}, nil
	case s.Soak != nil:
		return []rollout.PlanStep{{Kind: rollout.Soak, Min: max(s.Soak.Duration.Duration, 0)}}, nil
	}
	return nil, fmt.Errorf("says nothing; set one of warmup, mirror, setShare, ramp, hold, analyze, pause and soak")
}

// isObject reports whether text is a JSON object.
func isObject(text string) bool {
	return json.Valid([]byte(text)) && strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{")
}

// rampOf expands a ramp, with a hold after its last share too.
func rampOf(r *cfv1a1.RolloutRamp) ([]rollout.PlanStep, error) {
	from, to, factor := percentage(r.From), percentage(r.To), r.Factor
	if factor == 0 {
		factor = 2
	}
	if from <= 0 || to < from || to > rollout.Whole || !(factor >= 1.01 && factor <= 1000) {
		return nil, fmt.Errorf("a ramp from %v %% to %v %% by a factor of %v goes nowhere; use 0 < from ≤ to ≤ 100 and a factor of 1.01 to 1000", r.From, r.To, r.Factor)
	}
	least := cmp.Or(span(r.MinHold), 5*time.Minute)
	most := cmp.Or(span(r.MaxHold), max(time.Hour, least))
	return append(rollout.Ramp(from, to, factor, least, most), rollout.PlanStep{Kind: rollout.Hold, Min: least, Max: most}), nil
}

// checkGuardrails returns what is wrong with guardrails that a plan cannot tell.
func checkGuardrails(list []cfv1a1.RolloutGuardrail) []error {
	var errs []error
	for i := range list {
		if err := checkGuardrail(&list[i]); err != nil {
			errs = append(errs, fmt.Errorf("spec.analysis.guardrails[%d]%w", i, err))
		}
	}
	return errs
}

// checkGuardrail returns what is wrong with a guardrail; the error begins with the
// field below it.
func checkGuardrail(g *cfv1a1.RolloutGuardrail) error {
	known := slices.Contains(rollout.Metrics(), g.Name)
	switch {
	case g.External == nil && !known:
		return fmt.Errorf(".name: no metric is called %q; use one of %s, or set external", g.Name, strings.Join(rollout.Metrics(), ", "))
	case g.External != nil && known:
		return fmt.Errorf(".name: %q is measured by the gateway itself; give what comes from outside another name", g.Name)
	case g.External != nil && (len(g.Quantiles) > 0 || g.SLO != nil || g.Compare != nil || g.Absolute != nil):
		return fmt.Errorf(": quantiles, slo, compare and absolute are for what the gateway measures; use external.min and external.max")
	case g.External != nil:
		return nil
	case rollout.Measured(g.Name):
		if g.Absolute != nil && g.SLO == nil {
			return fmt.Errorf(".absolute: the rate is of units slower than the slo, which is missing; set slo")
		}
		return nil
	case len(g.Quantiles) > 0 || g.SLO != nil:
		return fmt.Errorf(": %s counts answers that are bad and has neither quantiles nor an slo; use absolute.maxRate", g.Name)
	}
	return nil
}

func analysisOf(a *cfv1a1.RolloutAnalysis) rollout.Analysis {
	out := rollout.Analysis{
		Tick: span(a.Tick), Alpha: a.Alpha, Beta: a.Beta, Settle: span(a.Settle),
		OnInsufficient: rollout.Policy(a.OnInsufficientData),
		AbortOnStall:   a.OnProviderError.Action == "AbortOnStall", StallTimeout: span(a.OnProviderError.StallTimeout),
	}
	for i := range a.Guardrails {
		out.Guardrails = append(out.Guardrails, guardrailOf(&a.Guardrails[i]))
	}
	return out
}

func guardrailOf(g *cfv1a1.RolloutGuardrail) rollout.Guardrail {
	out := rollout.Guardrail{Name: g.Name, Class: rollout.Class(g.Class), DryRun: g.DryRun, Quantiles: g.Quantiles,
		Limit: span(g.SLO), MinSamples: g.MinSamples, MinEndpoints: int(orZero(g.Endpoints))}
	switch g.Direction {
	case "Lower":
		out.Question.Direction = stats.LowerIsWorse
	case "Both":
		out.Question.Direction = stats.EitherIsWorse
	}
	if c := g.Compare; c != nil {
		out.Question.HarmMargin, out.Question.PassMargin, out.Question.Negligible, out.Tolerance = c.OddsRatioMargin, c.PassMargin, c.Negligible, c.Tolerance
	}
	if g.Absolute != nil {
		out.Max = g.Absolute.MaxRate
	}
	if x := g.External; x != nil {
		out.External, out.Low, out.High = true, -math.MaxFloat64, math.MaxFloat64
		if x.Min != nil {
			out.Low = *x.Min
		}
		if x.Max != nil {
			out.High = *x.Max
		}
	}
	return out
}
