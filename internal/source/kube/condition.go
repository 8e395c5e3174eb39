package kube

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// maxConditions is how many conditions one list may hold in every API written to;
// a rollout's may hold more, since we write most of them ourselves.
const (
	maxConditions        = 8
	maxRolloutConditions = 16
)

// conditions returns want as an API server keeps it. The time of the last
// transition stays that of the condition in old unless the status differs. Conditions
// of old of other types, which are somebody else's, follow until there are most.
func conditions(old []any, want []metav1.Condition, now time.Time, most int) []any {
	before := map[string]map[string]any{}
	for _, c := range old {
		if m, ok := c.(map[string]any); ok {
			before[text(m, "type")] = m
		}
	}
	out := make([]any, 0, len(want))
	for _, c := range want {
		since := now.UTC().Format(time.RFC3339)
		if was := before[c.Type]; was != nil && text(was, "status") == string(c.Status) && text(was, "lastTransitionTime") != "" {
			since = text(was, "lastTransitionTime")
		}
		delete(before, c.Type)
		m := map[string]any{"type": c.Type, "status": string(c.Status), "reason": c.Reason, "message": c.Message, "lastTransitionTime": since}
		if c.ObservedGeneration > 0 {
			m["observedGeneration"] = c.ObservedGeneration
		}
		out = append(out, m)
	}
	for _, c := range old {
		if m, ok := c.(map[string]any); ok && before[text(m, "type")] != nil && len(out) < most {
			out = append(out, m)
		}
	}
	return inPlace(old, out)
}

// inPlace puts the conditions of list into the order of old, as far as they are
// there: an order that differs is no difference.
func inPlace(old, list []any) []any {
	rank := map[string]int{}
	for i, c := range old {
		if m, ok := c.(map[string]any); ok {
			rank[text(m, "type")] = i + 1
		}
	}
	out := make([]any, 0, len(list))
	for i := range old {
		for _, c := range list {
			if rank[text(c.(map[string]any), "type")] == i+1 {
				out = append(out, c)
			}
		}
	}
	for _, c := range list {
		if rank[text(c.(map[string]any), "type")] == 0 {
			out = append(out, c)
		}
	}
	return out
}

// text returns the string at key of m, or "".
func text(m map[string]any, key string) string {
	s, _ := m[key].(string)
	return s
}

// list returns the list at key of m, or nil.
func list(m map[string]any, key string) []any {
	l, _ := m[key].([]any)
	return l
}

func mostConditions(kind string) int {
	if kind == "InferenceRollout" {
		return maxRolloutConditions
	}
	return maxConditions
}
