package translate

import (
	"fmt"
	"slices"
	"strings"

	"crossfade.dev/internal/routing"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// parent is one parentRef of a route to a Gateway of ours.
type parent struct {
	gateway *gateway
	set     *listenerSet // the parent, if it is not the Gateway itself
	spec    *gwv1.ParentReference
	refused verdict // why no listener takes the route
	places  []place
}

// ref is the object that the route names.
func (p *parent) ref() ObjectRef {
	if p.set != nil {
		return p.set.ref
	}
	return p.gateway.ref
}

// place is a listener a route attaches to and the hostnames both cover.
type place struct {
	listener  *listener
	hostnames []string
}

// parents are what routes may refer to.
type parents struct {
	gateways map[types.NamespacedName]*gateway
	sets     map[types.NamespacedName]*listenerSet
	// Those of other controllers as well.
	gatewayExists map[types.NamespacedName]*gwv1.Gateway
	setExists     map[types.NamespacedName]*gwv1.ListenerSet
}

func (b *build) newParents() *parents {
	p := &parents{gateways: map[types.NamespacedName]*gateway{}, sets: map[types.NamespacedName]*listenerSet{},
		gatewayExists: byName(b.in.Gateways), setExists: byName(b.in.ListenerSets)}
	for _, g := range b.gateways {
		p.gateways[nameOf(g.object)] = g
		for _, s := range g.sets {
			p.sets[nameOf(s.object)] = s
		}
	}
	return p
}

// findParents fills b.routes with the routes that refer to Gateways of ours, or to
// their ListenerSets, and finds the listeners that take them.
func (b *build) findParents() {
	all := b.newParents()
	for _, o := range oldestFirst(b.in.HTTPRoutes) {
		rt := &route{object: o, ref: refTo(gatewayGroup, kindHTTPRoute, o)}
		for i := range o.Spec.ParentRefs {
			if p := b.findParent(rt, all, &o.Spec.ParentRefs[i], fmt.Sprintf("spec.parentRefs[%d]", i)); p != nil {
				rt.parents = append(rt.parents, p)
			}
		}
		if len(o.Spec.ParentRefs) == 0 && b.alone() {
			b.report(Warning, rt.ref, "spec.parentRefs", "the route names no Gateway, so it is not used", "add a parentRef")
		}
		b.routes = append(b.routes, rt)
	}
}

// findParent follows one parentRef of a route; nil when it does not lead to us.
func (b *build) findParent(rt *route, all *parents, spec *gwv1.ParentReference, field string) *parent {
	kind := value(spec.Kind, kindGateway)
	name := types.NamespacedName{Namespace: value(spec.Namespace, rt.ref.Namespace), Name: string(spec.Name)}
	ours := value(spec.Group, gatewayGroup) == gatewayGroup
	exists := false
	switch {
	case ours && kind == kindGateway:
		if g := all.gateways[name]; g != nil {
			return b.attach(rt, g, nil, spec, field)
		}
		exists = all.gatewayExists[name] != nil
	case ours && kind == kindListenerSet:
		if s := all.sets[name]; s != nil {
			return b.attach(rt, s.gateway, s, spec, field)
		}
		exists = all.setExists[name] != nil
	default:
		if b.alone() {
			b.report(Warning, rt.ref, field, fmt.Sprintf("a parent of kind %s is not supported", kind), "name a Gateway or a ListenerSet")
		}
		return nil
	}
	if !exists {
		b.report(Error, rt.ref, field, fmt.Sprintf("%s %s does not exist", kind, name), "add the "+kind+" or correct the reference")
	}
	return nil
}

// attach finds the listeners of g, or of its set, that take the route: those the
// reference names, that allow it, and that share a hostname with it, asked in this
// order because each has its own reason.
func (b *build) attach(rt *route, g *gateway, set *listenerSet, spec *gwv1.ParentReference, field string) *parent {
	p := &parent{gateway: g, set: set, spec: spec}
	listeners := g.listeners
	if set != nil {
		listeners = set.listeners
	}
	named, allowed := 0, 0
	for _, l := range listeners {
		if spec.SectionName != nil && string(*spec.SectionName) != l.name || spec.Port != nil && *spec.Port != l.object.Port {
			continue
		}
		named++
		if !l.allows(rt.ref.Namespace) {
			continue
		}
		allowed++
		if hosts := sharedHosts(l.hostname, rt.object.Spec.Hostnames); len(hosts) > 0 {
			p.places = append(p.places, place{l, hosts})
		}
	}
	var remedy string
	switch {
	case len(p.places) > 0:
		return p
	case named == 0:
		p.refused = verdict{string(gwv1.RouteReasonNoMatchingParent), fmt.Sprintf("%s has no listener%s", p.ref(), wanted(spec))}
		remedy = "correct sectionName or port"
	case allowed == 0:
		p.refused = verdict{string(gwv1.RouteReasonNotAllowedByListeners), fmt.Sprintf("no listener of %s%s allows HTTPRoutes from namespace %s", p.ref(), wanted(spec), rt.ref.Namespace)}
		remedy = "set allowedRoutes of the listener"
	default:
		p.refused = verdict{string(gwv1.RouteReasonNoMatchingListenerHostname), fmt.Sprintf("no listener of %s%s shares a hostname with the route", p.ref(), wanted(spec))}
		remedy = "correct the hostnames of the route or the listener"
	}
	b.report(Error, rt.ref, field, p.refused.message, remedy)
	return p
}

// wanted is what a parentRef says of the listener it wants.
func wanted(spec *gwv1.ParentReference) string {
	s := ""
	if spec.SectionName != nil {
		s += " named " + string(*spec.SectionName)
	}
	if spec.Port != nil {
		s += fmt.Sprintf(" on port %d", *spec.Port)
	}
	return s
}

// sharedHosts returns the hostnames that a listener and a route both cover.
func sharedHosts(listener string, route []gwv1.Hostname) []string {
	if len(route) == 0 {
		return []string{listener}
	}
	var out []string
	for _, h := range route {
		if shared, ok := routing.HostIntersection(listener, strings.ToLower(string(h))); ok && !slices.Contains(out, shared) {
			out = append(out, shared)
		}
	}
	return out
}
