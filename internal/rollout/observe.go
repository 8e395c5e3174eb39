package rollout

import (
	"maps"
	"math"
	"slices"
	"time"
)

// observe takes over what gateways counted. A window that is not new, or overlaps
// one that was counted, says nothing twice.
func (m *machine) observe(o *Observation) {
	if o == nil || !o.To.After(o.From) || !o.To.After(m.Last.To) {
		return
	}
	if len(o.Missing) > 0 {
		m.Last.Missing = o.Missing
		return
	}
	m.Last.Missing = nil
	whole := !o.From.Before(m.Last.To)
	m.remember(o)
	if !whole {
		return
	}
	m.verify(o)
	if !m.Phase.Running() {
		return
	}
	if m.Pause == nil {
		m.Watched += max(0, o.To.Sub(later(o.From, m.StepStarted)))
	}
	m.fold(o)
	if m.Share.Set > 0 && o.Candidate.Arrivals > 0 {
		m.Warmed = min(m.Warmed+o.To.Sub(o.From), m.plan.Analysis.Settle)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// remember keeps what gates and people ask of the last window.
func (m *machine) remember(o *Observation) {
	l := &m.Last
	l.To, l.Candidate, l.Stable, l.NoModel = o.To, o.Candidate, o.Stable, o.NoModel
	l.Rate = float64(o.Candidate.Arrivals+o.Stable.Arrivals) / o.To.Sub(o.From).Seconds()
	l.Warm, l.WarmSteady = max(l.Warm, o.Warm), o.WarmSteady
	if l.StableAtStart == 0 && o.Stable.Known && m.Phase.Running() {
		l.StableAtStart = o.Stable.Ready
	}
}

// enoughArrivals is how many of the candidate's requests are expected before their
// absence means that a share is not in force.
const enoughArrivals = 10

// verify compares what gateways serve, and what arrived, with the share that was
// set. Only windows that began after all gateways had it count.
func (m *machine) verify(o *Observation) {
	s := &m.Share
	if o.Oldest < s.Revision || !o.To.After(s.Since) {
		return
	}
	if s.InForce.IsZero() {
		s.InForce = o.To
		s.Verified = s.Set > 0 && s.Set < Whole && float64(o.Stable.Arrivals+o.Candidate.Arrivals)*float64(s.Set)/float64(Whole) < enoughArrivals
		return
	}
	if o.From.Before(s.InForce) {
		return
	}
	s.Candidate += o.Candidate.Arrivals
	s.Total += o.Candidate.Arrivals + o.Stable.Arrivals
	switch {
	case s.Set == 0:
		s.Verified = s.Verified || o.Candidate.Arrivals == 0
	case s.Candidate == 0 && float64(s.Total)*float64(s.Set)/float64(Whole) >= enoughArrivals:
		s.Verified = false
	default:
		s.Verified = true
	}
}

// fold adds the window to the evidence. Evidence is kept for the whole attempt:
// shares may change under it.
func (m *machine) fold(o *Observation) {
	over := m.overloaded()
	settled := m.Warmed >= m.plan.Analysis.Settle
	for i := range m.plan.Analysis.Guardrails {
		g := &m.plan.Analysis.Guardrails[i]
		b := m.book(g)
		strata := o.Samples[g.Name]
		for _, name := range slices.Sorted(maps.Keys(strata)) {
			b.add(g, name, strata[name], g.Loaded && over, !g.Loaded || settled)
		}
	}
}

// book returns the evidence of a guardrail, a new one where margins have changed
// or what was stored cannot be read.
func (m *machine) book(g *Guardrail) *Book {
	if b := m.Books[g.Name]; b != nil && b.fits(g) {
		return b
	}
	if m.Books == nil {
		m.Books = map[string]*Book{}
	}
	b := newBook(g)
	m.Books[g.Name] = b
	return b
}

// hear takes over what providers outside said.
func (m *machine) hear(values []Value) {
	if !m.Phase.Running() {
		return
	}
	for _, v := range values {
		i := slices.IndexFunc(m.plan.Analysis.Guardrails, func(g Guardrail) bool { return g.External && g.Name == v.Guardrail })
		if i < 0 {
			continue
		}
		x := &m.book(&m.plan.Analysis.Guardrails[i]).External
		if math.IsNaN(v.Value) || math.IsInf(v.Value, 0) {
			v.Err = "it said no finite number"
		}
		if v.Err == "" {
			*x = External{Value: v.Value, At: m.At}
			continue
		}
		x.Error = v.Err
		if x.Failing.IsZero() {
			x.Failing = m.At
		}
	}
}
