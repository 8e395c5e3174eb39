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
	spec    *gwv1.ParentReference
	refused verdict // why no listener takes the route
	places  []place
}

// place is a listener a route attaches to and the hostnames both cover.
type place struct {
	listener  *listener
	hostnames []string
}

// findParents fills b.routes with the routes that refer to Gateways of ours, and
// finds the listeners that take them.
func (b *build) findParents() {
	ours := map[types.NamespacedName]*gateway{}
	for _, g := range b.gateways {
		ours[nameOf(g.object)] = g
	}
	exists := byName(b.in.Gateways)
	for _, o := range oldestFirst(b.in.HTTPRoutes) {
		rt := &route{object: o, ref: refTo(gatewayGroup, kindHTTPRoute, o)}
		for i := range o.Spec.ParentRefs {
			spec := &o.Spec.ParentRefs[i]
			field := fmt.Sprintf("spec.parentRefs[%d]", i)
			if !b.isGateway(rt, spec, field) {
				continue
			}
			name := types.NamespacedName{Namespace: value(spec.Namespace, o.Namespace), Name: string(spec.Name)}
			if g := ours[name]; g != nil {
				rt.parents = append(rt.parents, b.attach(rt, g, spec, field))
			} else if exists[name] == nil {
				b.report(Error, rt.ref, field, fmt.Sprintf("Gateway %s does not exist", name), "add the Gateway or correct the reference")
			}
		}
		if len(o.Spec.ParentRefs) == 0 && b.alone() {
			b.report(Warning, rt.ref, "spec.parentRefs", "the route names no Gateway, so it is not used", "add a parentRef")
		}
		b.routes = append(b.routes, rt)
	}
}

func (b *build) isGateway(rt *route, spec *gwv1.ParentReference, field string) bool {
	kind := value(spec.Kind, kindGateway)
	if kind == kindGateway && value(spec.Group, gatewayGroup) == gatewayGroup {
		return true
	}
	if b.alone() {
		b.report(Warning, rt.ref, field, fmt.Sprintf("a parent of kind %s is not supported", kind), "name a Gateway")
	}
	return false
}

// attach finds the listeners of g that take the route: those the reference names,
// that allow it, and that share a hostname with it, asked in this order because
// each has its own reason.
func (b *build) attach(rt *route, g *gateway, spec *gwv1.ParentReference, field string) *parent {
	p := &parent{gateway: g, spec: spec}
	named, allowed := 0, 0
	for _, l := range g.listeners {
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
		p.refused = verdict{string(gwv1.RouteReasonNoMatchingParent), fmt.Sprintf("%s has no listener%s", g.ref, wanted(spec))}
		remedy = "correct sectionName or port"
	case allowed == 0:
		p.refused = verdict{string(gwv1.RouteReasonNotAllowedByListeners), fmt.Sprintf("no listener of %s%s allows HTTPRoutes from namespace %s", g.ref, wanted(spec), rt.ref.Namespace)}
		remedy = "set allowedRoutes of the listener"
	default:
		p.refused = verdict{string(gwv1.RouteReasonNoMatchingListenerHostname), fmt.Sprintf("no listener of %s%s shares a hostname with the route", g.ref, wanted(spec))}
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
