package conductor

import (
	"cmp"
	"slices"
	"strings"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// The types of our conditions. What is good is True, but for CapacityLimited and
// PlanDrift.
const (
	Progressing     = "Progressing"     // an attempt goes on by itself
	Healthy         = "Healthy"         // guardrails have passed
	Promoted        = "Promoted"        // the candidate has all traffic, for good
	SharesVerified  = "SharesVerified"  // gateways serve the share, and arrivals agree
	Sticky          = "Sticky"          // requests have keys that keep them on a side
	CapacityLimited = "CapacityLimited" // the candidate can take no larger share
	PlanDrift       = "PlanDrift"       // the plan was changed during the attempt
)

var ours = []string{Progressing, Healthy, Promoted, SharesVerified, Sticky, CapacityLimited, PlanDrift}

// keepOthers returns our conditions of mine and all others of theirs.
func keepOthers(mine, theirs []metav1.Condition) []metav1.Condition {
	var out []metav1.Condition
	for _, c := range theirs {
		if !slices.Contains(ours, c.Type) {
			out = append(out, c)
		}
	}
	for _, c := range mine {
		if slices.Contains(ours, c.Type) {
			out = append(out, c)
		}
	}
	return out
}

// verdict is a condition's answer.
type verdict struct {
	status          metav1.ConditionStatus
	reason, message string
}

func yes(reason, message string) verdict { return verdict{metav1.ConditionTrue, reason, message} }
func no(reason, message string) verdict  { return verdict{metav1.ConditionFalse, reason, message} }
func unknown(reason, message string) verdict {
	return verdict{metav1.ConditionUnknown, reason, message}
}

// conditionsOf returns the conditions, those of others included.
func conditionsOf(o *cfv1a1.InferenceRollout, r *rollout.Report, s *rollout.State) []metav1.Condition {
	out := slices.Clone(o.Status.Conditions)
	for _, x := range []struct {
		is string
		verdict
	}{
		{Progressing, progressing(r, s)},
		{Healthy, healthy(r, s)},
		{Promoted, promoted(s)},
		{SharesVerified, verified(s)},
		{Sticky, sticky(o)},
		{CapacityLimited, limited(s)},
		{PlanDrift, drifted(s)},
	} {
		meta.SetStatusCondition(&out, metav1.Condition{Type: x.is, Status: x.status, Reason: x.reason, Message: x.message,
			ObservedGeneration: o.Generation, LastTransitionTime: metav1.NewTime(s.At.UTC().Truncate(time.Second))})
	}
	return out
}

func progressing(r *rollout.Report, s *rollout.State) verdict {
	switch {
	case s.Pause != nil:
		return no(cmp.Or(s.Pause.Reason, "Paused"), s.Pause.Message)
	case s.Hold != "" && (s.Phase.Running() || s.Phase == rollout.Superseded || s.Phase == rollout.Aborting):
		return yes(s.Hold, s.HoldMessage)
	case s.Phase.Running():
		return yes(string(r.Phase), r.Doing)
	case s.Phase == rollout.Superseded:
		return yes(string(r.Phase), "another candidate is to be rolled out")
	}
	return no(string(r.Phase), s.Message)
}

// healthy sums up the guardrails that count.
func healthy(r *rollout.Report, s *rollout.State) verdict {
	switch s.Phase {
	case rollout.Aborting, rollout.Aborted:
		if s.Reason == "GuardrailFailed" || s.Reason == "BreakerTripped" {
			return no(s.Reason, s.Message)
		}
	case rollout.Promoted:
		if s.Unpowered {
			return yes("PassedWithoutPower", "no harm was found, but not enough was seen to rule it out")
		}
		return yes("Passed", "no harm was found")
	case "", rollout.Idle, rollout.Superseded:
		return unknown("NoAttempt", "")
	}
	return sum(r.Guardrails)
}

// sum is the worst verdict of guardrails.
func sum(guardrails []rollout.GuardrailReport) verdict {
	by := map[rollout.Verdict][]string{}
	for _, g := range guardrails {
		if !g.DryRun && g.Class != rollout.Info {
			by[g.Verdict] = append(by[g.Verdict], joined(g.Name, g.Note))
		}
	}
	list := func(v rollout.Verdict) string { return strings.Join(by[v], "; ") }
	if len(by[rollout.Fail]) > 0 {
		return no("GuardrailFailed", list(rollout.Fail))
	}
	for _, x := range []struct {
		of     rollout.Verdict
		reason string
	}{
		{rollout.Waiting, "ProviderError"}, {rollout.Confounded, "Confounded"}, {"", "InsufficientData"},
		{rollout.Insufficient, "InsufficientData"}, {rollout.Inconclusive, "Inconclusive"},
	} {
		if len(by[x.of]) > 0 {
			return unknown(x.reason, list(x.of))
		}
	}
	if len(by) == 0 {
		return unknown("InsufficientData", "nothing was seen yet")
	}
	return yes("Passed", "")
}

func promoted(s *rollout.State) verdict {
	switch {
	case s.Phase == rollout.Promoted:
		return yes(Promoted, s.Message)
	case s.Phase.Running():
		return no("InProgress", "")
	case s.Number == 0:
		return no("NoAttempt", "")
	}
	return no(string(s.Phase), s.Message)
}

func verified(s *rollout.State) verdict {
	switch {
	case s.Number == 0:
		return unknown("NoAttempt", "")
	case s.Share.Verified:
		return yes("Verified", "")
	case s.AbortAlarm:
		return no("AbortNotEffective", s.HoldMessage)
	case s.Share.InForce.IsZero():
		return no("Verifying", "not every gateway serves "+s.Share.Set.String()+" yet")
	}
	return no("Verifying", "arrivals do not show "+s.Share.Set.String()+" yet")
}

func sticky(o *cfv1a1.InferenceRollout) verdict {
	if len(o.Spec.Assignment.Keys) == 0 {
		return no("NoKeys", "every request is assigned at random; spec.assignment.keys says by what users or sessions are known")
	}
	return yes("Keys", "requests that have a key keep their version while the share grows")
}

func limited(s *rollout.State) verdict {
	if s.Hold == CapacityLimited || s.Hold == "StableCapacity" {
		return yes(s.Hold, s.HoldMessage)
	}
	return no("NotLimited", "")
}

func drifted(s *rollout.State) verdict {
	if s.Drift {
		return yes("PlanChanged", "steps that have not begun follow the changed plan")
	}
	return no("AsStarted", "")
}
