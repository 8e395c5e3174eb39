package translate

import (
	"fmt"
	"slices"

	"crossfade.dev/internal/routing"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// route is an HTTPRoute.
type route struct {
	object  *gwv1.HTTPRoute
	ref     ObjectRef
	parents []*parent // Gateways of ours
	rules   []*rule
	// unresolved is what is wrong with its backendRefs, notes what it asks for
	// and is served without.
	unresolved []verdict
	notes      []string
	pools      []*pool
	services   []servicePortName
	// used says that some request can follow the route.
	used bool
}

// translateRoutes translates the rules of the routes that have a parent, puts
// them into the listeners and writes the statuses.
func (b *build) translateRoutes() {
	b.services = map[string]*servicePool{}
	for _, rt := range b.routes {
		s := Status{Ref: rt.ref, Generation: rt.object.Generation}
		if len(rt.parents) > 0 {
			for i := range rt.object.Spec.Rules {
				rt.rules = append(rt.rules, b.translateRule(rt, i))
			}
			b.install(rt)
		}
		for _, p := range rt.parents {
			s.Parents = append(s.Parents, rt.status(p))
		}
		b.statuses = append(b.statuses, s)
	}
	b.finishBackendTLS()
	b.finishSets()
}

// install puts the route into every listener that takes it, once. A route whose
// rules are all invalid is not accepted, but its requests must still fail rather
// than follow a less specific route.
func (b *build) install(rt *route) {
	done := map[*listener]bool{}
	for _, p := range rt.parents {
		for _, pl := range p.places {
			if done[pl.listener] {
				continue
			}
			done[pl.listener] = true
			if !rt.invalid() {
				pl.listener.attached++
			}
			if pl.listener.programmed {
				rt.used = true
				b.addRules(rt, pl)
			}
		}
		for _, pool := range rt.pools {
			pool.used(p.gateway, !p.refused.bad() && !rt.invalid())
		}
		for _, s := range rt.services {
			b.tls.used(s, p.gateway)
		}
	}
}

func (b *build) addRules(rt *route, pl place) {
	order := 0
	object := rt.ref.Namespace + "/" + rt.ref.Name
	for _, r := range rt.rules {
		served := b.ruleFor(r, pl.listener)
		for _, m := range r.matches {
			for _, h := range pl.hostnames {
				pl.listener.routing.AddRoute(h, &routing.Route{Match: m, Rule: served,
					Created: rt.object.CreationTimestamp.Time, Object: object, Order: order})
			}
			order++
		}
	}
}

// invalid says that none of the route's rules can be served.
func (rt *route) invalid() bool {
	return len(rt.rules) > 0 && !slices.ContainsFunc(rt.rules, func(r *rule) bool { return !r.broken() })
}

// faults returns a word on each fault of the route's rules, and the reason of the
// first. The words begin as Gateway API wants them to.
func (rt *route) faults() (reason string, messages []string) {
	for _, r := range rt.rules {
		for _, f := range r.faults {
			if reason == "" {
				reason = f.reason
			}
			where := "Dropped Rule " + r.name()
			if f.backend != wholeRule {
				where += fmt.Sprintf(" backend %d", f.backend)
			}
			messages = append(messages, where+": "+f.message)
		}
	}
	return reason, messages
}

func (rt *route) status(p *parent) ParentStatus {
	cs := conditions{generation: rt.object.Generation}
	reason, faults := rt.faults()
	switch {
	case p.refused.bad():
		cs.no(accepted, p.refused.reason, p.refused.message)
	case rt.invalid():
		cs.no(accepted, reason, sentence(faults))
	default:
		cs.yes(accepted, accepted, sentence(rt.notes))
	}
	if len(rt.unresolved) == 0 {
		cs.yes(resolvedRefs, resolvedRefs, "")
	} else {
		cs.no(resolvedRefs, rt.unresolved[0].reason, sentence(messagesOf(rt.unresolved)))
	}
	if len(faults) > 0 && !rt.invalid() && !p.refused.bad() {
		cs.yes(string(gwv1.RouteConditionPartiallyInvalid), unsupportedValue, sentence(faults))
	}
	s := ParentStatus{Parent: p.ref(), Controller: p.gateway.class.controller, Section: value(p.spec.SectionName, ""), Conditions: cs.list}
	if p.spec.Port != nil {
		s.Port = *p.spec.Port
	}
	return s
}

func messagesOf(list []verdict) []string {
	var out []string
	for _, v := range list {
		if !slices.Contains(out, v.message) {
			out = append(out, v.message)
		}
	}
	return out
}
