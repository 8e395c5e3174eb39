package tally

import (
	"slices"

	"crossfade.dev/internal/routing"
)

// A Split is one place of a snapshot in which a rollout decides: two backends of a
// rule, or two models in a pool.
type Split struct {
	Assignment *routing.Assignment
	// Stable and Candidate are the pools of the two sides; the same one where the
	// sides are models in it. nil where a backend does not resolve.
	Stable, Candidate *routing.Pool
	// StableModel and CandidateModel are the sides' models in their pool; "" where
	// the sides are pools.
	StableModel, CandidateModel string
	// Identity is what endpoints are shown over TLS; nil: nothing, or not known, as
	// where the sides are models in a pool.
	Identity *routing.Identity
}

// Splits returns the places of a snapshot in which rollouts decide. A rule that hangs
// on several listeners is in each of them a place of its own.
func Splits(s *routing.Snapshot) []Split {
	var out []Split
	for _, port := range s.Ports {
		for _, l := range port.Listeners {
			l.EachRoute(func(r *routing.Route) {
				if a := r.Rule.Assignment; a != nil {
					b := r.Rule.Backends
					out = append(out, Split{Assignment: a, Stable: b[a.Stable].Pool, Candidate: b[a.Candidate].Pool, Identity: l.Identity})
				}
			})
		}
	}
	for _, p := range s.Pools {
		for _, rule := range p.Rules {
			out = appendModels(out, p, rule)
		}
		out = appendModels(out, p, p.Generic)
	}
	return out
}

func appendModels(out []Split, p *routing.Pool, m *routing.ModelRule) []Split {
	if m == nil || m.Assignment == nil {
		return out
	}
	a := m.Assignment
	return append(out, Split{Assignment: a, Stable: p, Candidate: p, StableModel: m.Targets[a.Stable].Model, CandidateModel: m.Targets[a.Candidate].Model})
}

// Lacking returns the candidate's endpoints that are known not to serve its model.
// Where the sides are pools no model is named: there it is those that serve none of
// the names that clients may ask stable for.
func (s *Split) Lacking() []string {
	if s.Candidate == nil || !s.Candidate.Inference {
		return nil
	}
	wanted := []string{s.CandidateModel}
	if s.CandidateModel == "" {
		if s.Stable == nil {
			return nil
		}
		wanted = s.wanted()
	}
	var out []string
	for i := range s.Candidate.Endpoints {
		e := &s.Candidate.Endpoints[i]
		serves := func(name string) bool { return slices.Contains(e.Models, name) }
		if len(wanted) > 0 && e.Models != nil && !slices.ContainsFunc(wanted, serves) {
			out = append(out, e.Address)
		}
	}
	return out
}

// wanted returns what the candidate's endpoints are asked for when clients use the
// names that stable's pool has.
func (s *Split) wanted() []string {
	var out []string
	for _, name := range s.Stable.Names() {
		rule := s.Candidate.Rule(name)
		if rule == nil {
			out = append(out, name)
			continue
		}
		for _, t := range rule.Targets {
			if t.Weight > 0 {
				out = append(out, t.Model)
			}
		}
	}
	return out
}

// serving returns the pool's endpoints that are not known to lack a model; "" is
// served by all.
func serving(p *routing.Pool, model string) []string {
	var out []string
	for i := range p.Endpoints {
		if e := &p.Endpoints[i]; model == "" || e.Models == nil || slices.Contains(e.Models, model) {
			out = append(out, e.Address)
		}
	}
	return out
}
