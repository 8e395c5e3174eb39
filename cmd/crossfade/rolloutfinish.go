package main

import (
	"fmt"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
)

// finish says what to edit once a rollout is promoted, so that its object can go:
// the user's own objects are never written, and without the rollout their weights
// hold again.
func (s *subject) finish() []string {
	if s.state.Phase != rollout.Promoted || !s.current() {
		return nil
	}
	spec := &s.object.Spec
	stable, candidate := sideText(spec.Stable), sideText(spec.Candidate)
	lines := []string{"To finish, edit in Git:"}
	switch t := spec.Target; {
	case t.HTTPRoute != nil:
		where := "HTTPRoute " + t.HTTPRoute.Name
		if t.HTTPRoute.RuleName != "" {
			where += ", rule " + t.HTTPRoute.RuleName
		}
		lines = append(lines, fmt.Sprintf("  %s: give the backendRef %s all weight, and %s weight: 0, or take it out", where, candidate, stable))
	case t.ModelRewrite != nil:
		lines = append(lines, fmt.Sprintf("  InferenceModelRewrite %s, rule of %q: leave %s as the only target (a weight of 0 is not allowed there)", t.ModelRewrite.Name, t.ModelRewrite.Match, candidate))
	case t.InferenceModel != nil:
		lines = append(lines, fmt.Sprintf("  InferenceModel %s: leave %s as the only target model (a weight of 0 is not allowed there)", t.InferenceModel.Name, candidate))
	}
	return append(lines,
		fmt.Sprintf("  then delete InferenceRollout %s, or keep it for the next version with spec.stable: {%s}", s.object.Name, sideField(spec.Candidate)),
		"Until that edit is live, deleting it returns the traffic to the weights that are there now.")
}

func sideText(s cfv1a1.RolloutSide) string {
	if s.Model != "" {
		return s.Model
	}
	return s.Name
}

func sideField(s cfv1a1.RolloutSide) string {
	if s.Model != "" {
		return "model: " + s.Model
	}
	return "name: " + s.Name
}
