package rollout

import (
	"fmt"
	"slices"
	"strings"
)

// analyzed judges a Hold or an Analyze step. Harm has been acted upon before, in
// guard; what is left is whether enough was seen. A Hold asks for enough samples,
// an Analyze for a pass of every guardrail, or its longest time without harm.
func (m *machine) analyzed(step PlanStep) bool {
	if m.Watched < step.Min {
		m.wait("Watching", "%s more", Words(step.Min-m.Watched))
		return false
	}
	open := m.open()
	if names := open[Waiting]; len(names) > 0 {
		m.wait("ProviderError", "no value for %s", strings.Join(names, ", "))
		return false
	}
	if names := open[Confounded]; len(names) > 0 {
		m.wait("Confounded", "%s cannot be judged while the candidate carries more load than stable: give it more endpoints", strings.Join(names, ", "))
		return false
	}
	if names := open[Insufficient]; len(names) > 0 {
		m.wait("InsufficientData", "%s", m.missing(names))
		return m.late(step) && m.insufficient(m.HoldMessage)
	}
	names := open[Inconclusive]
	if step.Kind == Hold || len(names) == 0 {
		return true
	}
	if !m.late(step) {
		m.wait("Inconclusive", "%s show neither harm nor its absence yet", strings.Join(names, ", "))
		return false
	}
	m.Unpowered = true
	m.tell("PassedWithoutPower", "%s: no harm found in %s, but not enough was seen to rule it out", strings.Join(names, ", "), Words(step.Max))
	return true
}

// open lists, by verdict, the guardrails that count and have not passed. Of a rare
// metric too little may have been seen.
func (m *machine) open() map[Verdict][]string {
	out := map[Verdict][]string{}
	for i := range m.plan.Analysis.Guardrails {
		g := &m.plan.Analysis.Guardrails[i]
		b := m.Books[g.Name]
		if b == nil || g.DryRun || g.Class == Info || m.acknowledged(g.Name) || g.Rare && b.Verdict == Insufficient {
			continue
		}
		out[b.Verdict] = append(out[b.Verdict], g.Name)
	}
	return out
}

func (m *machine) missing(names []string) string {
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = name + " (" + m.Books[name].Note + ")"
	}
	return strings.Join(parts, ", ")
}

// insufficient follows the policy for a step whose time is over with too little
// seen; it reports whether to go on.
func (m *machine) insufficient(what string) bool {
	switch m.plan.Analysis.OnInsufficient {
	case PolicyExtend:
		return false
	case PolicyProceedUnpowered:
		m.Unpowered = true
		m.tell("PassedWithoutPower", "too little was seen: %s", what)
		return true
	case PolicyAbort:
		m.abort("InsufficientData", "too little was seen: "+what, "")
		return false
	}
	m.pause(Pause{Reason: "InsufficientData", Message: "too little was seen: " + what})
	return false
}

func (m *machine) acknowledged(name string) bool { return slices.Contains(m.Acknowledged, name) }

// crowded is the mean use of KV caches beyond which an endpoint slows down.
const crowded = 0.8

// allowed is the largest share up to want that the candidate's endpoints can take.
// It is never below the share that is set: what the candidate has, only an abort
// takes away. Where it is less than wanted, it notes why.
//
// Until the candidate is saturated its capacity is taken to be as many of stable's
// as it has endpoints; once requests wait or caches are full it is what it carries.
func (m *machine) allowed(want Share) Share {
	if m.plan.Capacity.Off {
		return want
	}
	c, s := m.Last.Candidate, m.Last.Stable
	base := max(m.Last.StableAtStart, s.Ready)
	limit, why := want, ""
	switch {
	case !c.Known || !s.Known:
		limit, why = 0, "the state of the endpoints is not known yet"
	case c.Ready == 0:
		limit, why = 0, "no endpoint of "+m.Candidate+" is ready"
	case m.Share.Set > 0 && (c.Waiting > c.Ready || c.KV > crowded):
		limit, why = m.Share.Set, fmt.Sprintf("%s is saturated: %d requests wait, caches are %s full", m.Candidate, c.Waiting, Percent(c.KV))
	case c.Ready < base:
		limit = Whole * Share(c.Ready) / Share(base)
		why = fmt.Sprintf("%s has %d endpoints where stable has %d, enough for %s", m.Candidate, c.Ready, base, limit)
	}
	if limit >= want {
		return want
	}
	m.wait("CapacityLimited", "%s", why)
	return max(limit, m.Share.Set)
}
