package translate

import (
	"fmt"
	"slices"
	"strings"

	egv1a1 "crossfade.dev/api/envoygateway/v1alpha1"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// target is what a policy may be attached to: a Gateway or HTTPRoute, or a
// section of one: a listener, a named rule.
type target struct{ kind, namespace, name, section string }

func gatewayTarget(g *gateway) target {
	return target{kind: kindGateway, namespace: g.ref.Namespace, name: g.ref.Name}
}

func listenerTarget(l *listener) target {
	t := gatewayTarget(l.gateway)
	if l.set != nil {
		t.kind, t.namespace, t.name = kindListenerSet, l.set.ref.Namespace, l.set.ref.Name
	}
	t.section = l.name
	return t
}

// targetFinder finds what policies refer to.
type targetFinder struct {
	gateways map[types.NamespacedName]*gateway
	routes   map[types.NamespacedName]*route
	exists   map[types.NamespacedName]*gwv1.Gateway // also those of others
	// controller of the statuses at targets that are nobody's.
	controller string
}

func (b *build) newTargetFinder() *targetFinder {
	f := &targetFinder{gateways: map[types.NamespacedName]*gateway{}, routes: map[types.NamespacedName]*route{}, exists: byName(b.in.Gateways), controller: b.opts.Controller}
	for _, g := range b.gateways {
		f.gateways[nameOf(g.object)] = g
	}
	for _, rt := range b.routes {
		f.routes[nameOf(rt.object)] = rt
	}
	return f
}

// find attaches p to the target r, and returns the ancestors at which to say so,
// or why not and what to do. A target that another controller serves has none.
func (f *targetFinder) find(p *policy, r egv1a1.TargetRef, taken map[target]*policy) (ancestors []ParentStatus, v verdict, remedy string) {
	t := target{string(r.Kind), p.ref.Namespace, string(r.Name), value(r.SectionName, "")}
	self := []ParentStatus{{Parent: ObjectRef{Group: string(r.Group), Kind: t.kind, Namespace: t.namespace, Name: t.name}, Controller: f.controller, Section: t.section}}
	const notFound, conflicted = string(gwv1.PolicyReasonTargetNotFound), string(gwv1.PolicyReasonConflicted)
	if string(r.Group) != gatewayGroup || !slices.Contains(p.kinds, t.kind) {
		return self, verdict{notFound, fmt.Sprintf("a target of kind %s is not supported", r.Kind)}, "target " + strings.Join(p.kinds, " or ")
	}
	ancestors, exists, section := f.ancestors(t, self)
	switch {
	case !exists:
		return self, verdict{notFound, fmt.Sprintf("%s does not exist", self[0].Parent)}, "correct the target, which must be in the policy's namespace"
	case !section:
		return ancestors, verdict{notFound, fmt.Sprintf("%s has no section %s", self[0].Parent, t.section)}, "correct sectionName"
	case len(ancestors) == 0:
		return nil, verdict{}, ""
	case p.wrong != "":
		return ancestors, verdict{string(gwv1.PolicyReasonInvalid), p.wrong}, ""
	case taken[t] == p:
		return nil, verdict{}, ""
	case taken[t] != nil:
		return ancestors, verdict{conflicted, fmt.Sprintf("%s, which is older, has the same target", taken[t].ref)}, "delete one of the two"
	}
	taken[t] = p
	return ancestors, verdict{}, ""
}

// ancestors returns the Gateways of ours that t is or leads to, whether t exists,
// and whether it has the section.
func (f *targetFinder) ancestors(t target, self []ParentStatus) (list []ParentStatus, exists, section bool) {
	name := types.NamespacedName{Namespace: t.namespace, Name: t.name}
	if t.kind == kindHTTPRoute {
		rt := f.routes[name]
		if rt == nil {
			return nil, false, false
		}
		for _, p := range rt.parents {
			list = append(list, ParentStatus{Parent: p.ref(), Controller: p.gateway.class.controller, Section: value(p.spec.SectionName, "")})
		}
		return list, true, t.section == "" || hasRule(rt.object, t.section)
	}
	g := f.gateways[name]
	if g == nil {
		return nil, f.exists[name] != nil, true
	}
	self[0].Controller = g.class.controller
	return self, true, t.section == "" || slices.ContainsFunc(g.listeners, func(l *listener) bool { return l.name == t.section })
}

func hasRule(o *gwv1.HTTPRoute, name string) bool {
	return slices.ContainsFunc(o.Spec.Rules, func(r gwv1.HTTPRouteRule) bool { return value(r.Name, "") == name })
}
