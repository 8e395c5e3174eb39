package translate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"crossfade.dev/internal/routing"
)

// warn reports what works but is hardly meant.
func (b *build) warn() {
	b.warnOfMatches()
	for _, rt := range b.routes {
		for _, r := range rt.rules {
			if rt.used && !r.broken() {
				b.warnOfWeights(r)
				b.warnOfModels(r)
			}
		}
	}
	for _, p := range b.pools {
		if len(p.parents) == 0 && b.opts.Cluster {
			continue // perhaps another controller's
		}
		b.warnOfPods(p)
		b.warnOfTargets(p)
		if len(p.parents) == 0 && b.alone() {
			b.report(Warning, p.ref, "", "no HTTPRoute leads to the pool"+unreachable(p), "name it in a backendRef of an HTTPRoute")
		}
	}
	for _, s := range b.services {
		if s.pool != nil && len(s.pool.Endpoints) == 0 {
			namespace, name, _ := strings.Cut(s.pool.Name, "/")
			b.report(Warning, ObjectRef{Kind: kindService, Namespace: namespace, Name: name}, "", "no ready endpoint, so requests get 503", "see that pods match its selector and are ready")
		}
	}
	for _, g := range b.gateways {
		programmed := slices.ContainsFunc(g.allListeners(), func(l *listener) bool { return l.programmed })
		attached := slices.ContainsFunc(g.allListeners(), func(l *listener) bool { return l.attached > 0 })
		if programmed && !attached {
			b.report(Warning, g.ref, "", "no route is attached, so every request gets 404", "add an HTTPRoute with this Gateway as a parent")
		}
	}
}

func unreachable(p *pool) string {
	names := slices.Sorted(maps.Keys(p.routing.Rules))
	if len(names) == 0 {
		return ""
	}
	return ", so nobody can ask it for " + some(names)
}

// some lists names, the first few of many.
func some(names []string) string {
	const few = 5
	if len(names) <= few {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:few], ", "), len(names)-few)
}

// placed is where a match was first seen.
type placed struct {
	listener    *listener
	host, match string
}

// warnOfMatches reports matches that never apply, because wherever the route is
// attached an older route, or an earlier rule of it, has the same match. Routes
// are visited in the order in which they win.
func (b *build) warnOfMatches() {
	owners := map[placed]*rule{}
	for _, rt := range b.routes {
		places := rt.programmedPlaces()
		for _, r := range rt.rules {
			for i, m := range r.matches {
				var winner *rule
				shadowed := 0
				for _, at := range places {
					at.match = m.String()
					if owner := owners[at]; owner != nil {
						winner = owner
						shadowed++
					} else {
						owners[at] = r
					}
				}
				if shadowed == 0 || shadowed < len(places) {
					continue
				}
				b.report(Warning, rt.ref, fmt.Sprintf("%s.matches[%d]", r.field, i),
					fmt.Sprintf("never applies: %s of %s has the same match and goes first", winner.field, winner.route.ref),
					"remove one of the two, or make them differ")
			}
		}
	}
}

// programmedPlaces returns each programmed listener and hostname of the route, once.
func (rt *route) programmedPlaces() []placed {
	var out []placed
	done := map[*listener]bool{}
	for _, p := range rt.parents {
		for _, pl := range p.places {
			if done[pl.listener] || !pl.listener.programmed {
				continue
			}
			done[pl.listener] = true
			for _, h := range pl.hostnames {
				out = append(out, placed{listener: pl.listener, host: h})
			}
		}
	}
	return out
}

func (b *build) warnOfWeights(r *rule) {
	total := uint64(0)
	for i := range r.routing.Backends {
		total += uint64(r.routing.Backends[i].Weight)
	}
	if len(r.routing.Backends) > 0 && total == 0 {
		b.report(Warning, r.route.ref, r.field+".backendRefs", "the weights sum to zero, so no request gets an answer", "give a backend a weight above 0")
	}
}

// warnOfModels reports weights that do not hold for some models because a pool is
// known not to serve them.
func (b *build) warnOfModels(r *rule) {
	excluded := map[*routing.Pool][]string{}
	for _, model := range r.routing.Models() {
		for _, p := range r.routing.Excluded(model) {
			excluded[p] = append(excluded[p], model)
		}
	}
	for i := range r.routing.Backends {
		backend := &r.routing.Backends[i]
		models := excluded[backend.Pool]
		if backend.Pool == nil || backend.Weight == 0 || len(models) == 0 {
			continue
		}
		subject, them := "model "+models[0]+" never goes", "it"
		if len(models) > 1 {
			subject, them = "models "+some(models)+" never go", "them"
		}
		why := "nothing declares " + them + " there"
		if backend.Pool.ModelsKnown {
			why = "its endpoints do not serve " + them
		}
		b.report(Warning, r.route.ref, fmt.Sprintf("%s.backendRefs[%d]", r.field, i),
			fmt.Sprintf("%s to %s, whatever its weight of %d: %s", subject, backend.Ref, backend.Weight, why),
			"for a share of "+them+", serve "+them+" in that pool, by an InferenceModel if the name differs")
	}
}

func (b *build) warnOfPods(p *pool) {
	switch {
	case p.selected == 0:
		b.report(Warning, p.ref, "spec.selector", "no pod has the labels of the selector, so requests get 503", "correct the selector or the pods' labels")
	case len(p.routing.Endpoints) == 0:
		b.report(Warning, p.ref, "", fmt.Sprintf("none of the %d pods its selector matches is ready and has an address, so requests get 503", p.selected), "see why they are not ready")
	}
}

// warnOfTargets reports targets that no endpoint of a pool serves, once all
// endpoints have told what they serve.
func (b *build) warnOfTargets(p *pool) {
	if !p.routing.ModelsKnown {
		return
	}
	for name, owner := range p.owners {
		r := p.routing.Rules[name]
		if name == genericName {
			r = p.routing.Generic
		}
		for _, t := range r.Targets {
			if _, served := slices.BinarySearch(p.routing.Models, t.Model); served || t.Weight == 0 {
				continue
			}
			b.report(Warning, owner.ref, owner.field, fmt.Sprintf("no endpoint of %s serves target %s (they serve %s)", p.ref, t.Model, some(p.routing.Models)),
				"load the adapter on the model servers or correct the name")
		}
	}
}
