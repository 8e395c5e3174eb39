package conductor

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/translate"
)

// StatusOf makes the status of a rollout's state. o is the object with its status
// before, of which conditions of other types, the request, and the instants of what
// stays as it is are kept. It fails when the state cannot be written as JSON.
func StatusOf(o *cfv1a1.InferenceRollout, plan *rollout.Plan, s *rollout.State) (cfv1a1.InferenceRolloutStatus, error) {
	machine, err := json.Marshal(s)
	if err != nil {
		return cfv1a1.InferenceRolloutStatus{}, fmt.Errorf("write the state of %s: %w", plan.Name, err)
	}
	r := rollout.Explain(plan, s)
	share, observed := sharesText(s)
	return cfv1a1.InferenceRolloutStatus{
		Share: share, Observed: observed,
		Phase:      string(r.Phase),
		Message:    message(&r, s),
		Step:       stepText(&r),
		Attempt:    s.Number,
		Shares:     sharesOf(o, plan, s),
		Verdicts:   verdictsOf(&r),
		Conditions: conditionsOf(o, &r, s),
		Request:    o.Status.Request,
		Machine:    string(machine),
	}, nil
}

// sharesText is the share, set and observed, as people read it; "" for what is not
// known.
func sharesText(s *rollout.State) (set, observed string) {
	if s.Number == 0 {
		return "", ""
	}
	if part, ok := s.Share.Observed(); ok {
		observed = fmt.Sprintf("%.1f%%", 100*part)
	}
	return s.Share.Set.String(), observed
}

// stepText is the step as "3/9 hold 5m".
func stepText(r *rollout.Report) string {
	if r.Doing == "" {
		return ""
	}
	return fmt.Sprintf("%d/%d %s", r.Step, r.Steps, r.Doing)
}

// message says what is going on; it ends with what comes next by itself, and when.
func message(r *rollout.Report, s *rollout.State) string {
	if r.Number == 0 {
		return "no attempt has begun"
	}
	text := fmt.Sprintf("attempt %d: %s has %s", r.Number, r.Candidate, r.Set)
	switch {
	case s.Phase == rollout.Promoted && s.Hold == "":
		return fmt.Sprintf("attempt %d: %s has all traffic", r.Number, r.Candidate)
	case s.Phase == rollout.Aborted:
		return fmt.Sprintf("attempt %d: %s gets nothing: %s", r.Number, r.Candidate, s.Message)
	case s.Phase == rollout.Aborting:
		text += ", aborting (" + s.Message + ")"
	}
	if s.Pause != nil {
		text += "; paused, " + s.Pause.Reason + ": " + s.Pause.Message
	} else if s.Hold != "" {
		text += "; " + s.Hold + ": " + s.HoldMessage
	}
	if s.Refused != "" {
		text += "; refused: " + s.Refused
	}
	return text + next(&r.Due)
}

// next is what comes by itself.
func next(d *rollout.Due) string {
	switch {
	case d.What == "":
		return ""
	case d.At.IsZero():
		return "; next: " + d.What
	}
	return fmt.Sprintf("; next: %s, not before %s", d.What, d.At.UTC().Format(time.RFC3339))
}

// sharesOf is what gateways are to serve and to do; nil before the first attempt.
func sharesOf(o *cfv1a1.InferenceRollout, plan *rollout.Plan, s *rollout.State) *cfv1a1.RolloutShares {
	if s.Number == 0 {
		return o.Status.Shares
	}
	out := &cfv1a1.RolloutShares{
		Set: int32(s.Share.Set), Verified: s.Share.Verified, Salt: s.Share.Salt,
		Attempt: s.Number, Revision: s.Share.Revision, Epoch: s.Epoch,
		Watched: s.Phase.Running(), Task: taskOf(plan, s),
	}
	out.Stable, out.Candidate = sidesOf(o, s)
	if part, ok := s.Share.Observed(); ok {
		observed := int32(math.Round(part * float64(rollout.Whole)))
		out.Observed = &observed
	}
	return out
}

// sidesOf returns the versions that the state is about. A state knows their names
// alone; what the names mean stood in the spec when the attempt began, and since then
// in the shares.
func sidesOf(o *cfv1a1.InferenceRollout, s *rollout.State) (stable, candidate cfv1a1.RolloutSide) {
	pairs := [][2]cfv1a1.RolloutSide{{o.Spec.Stable, o.Spec.Candidate}}
	if was := o.Status.Shares; was != nil {
		before := [2]cfv1a1.RolloutSide{was.Stable, was.Candidate}
		at := len(pairs)
		if was.Attempt == s.Number {
			at = 0
		}
		pairs = slices.Insert(pairs, at, before)
	}
	stable, candidate = pairs[0][0], pairs[0][1]
	for _, pair := range slices.Backward(pairs) {
		for _, side := range pair {
			switch translate.SideName(o.Namespace, side) {
			case s.Stable:
				stable = side
			case s.Candidate:
				candidate = side
			}
		}
	}
	return stable, candidate
}

// taskOf is what gateways do for the candidate beside serving, nil for nothing. While
// a person is waited for they do nothing.
func taskOf(plan *rollout.Plan, s *rollout.State) *cfv1a1.RolloutTask {
	switch {
	case s.Phase == rollout.Aborting && plan.Abort.Cancel:
		return &cfv1a1.RolloutTask{Cancel: true}
	case !s.Phase.Running() || s.Pause != nil || s.Step >= len(s.Steps):
		return nil
	}
	switch step := s.Steps[s.Step]; step.Kind {
	case rollout.Warmup:
		return &cfv1a1.RolloutTask{Warmup: &cfv1a1.RolloutWarmupTask{Requests: int32(step.Requests)}}
	case rollout.Mirror:
		return &cfv1a1.RolloutTask{Mirror: &cfv1a1.RolloutMirrorTask{Percent: int32(step.Percent), MaxTokens: int32(step.MaxTokens)}}
	}
	return nil
}

func verdictsOf(r *rollout.Report) []cfv1a1.RolloutVerdict {
	var out []cfv1a1.RolloutVerdict
	for _, g := range r.Guardrails {
		v := cfv1a1.RolloutVerdict{Name: g.Name, Verdict: string(g.Verdict), Note: g.Note}
		if g.DryRun {
			v.Note = joined("dry run", g.Note)
		}
		if t := g.Known.Table; t.Candidate.Units > 0 || t.Stable.Units > 0 {
			v.Effect, v.EValue = g.Known.Effect.String(), fmt.Sprintf("%.3g", g.E)
			v.Candidate, v.Stable = t.Candidate.Units, t.Stable.Units
		}
		out = append(out, v)
	}
	return out
}

func joined(a, b string) string {
	if b == "" {
		return a
	}
	return a + ": " + b
}
