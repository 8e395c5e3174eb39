package translate

import (
	"slices"

	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Needs tells which Secrets and ConfigMaps Gateways refer to, of all Gateways and
// what is attached to them. Sources read no others, and a data plane is given the
// right to read those of its Gateway alone.
type Needs struct {
	grants   grants
	sets     map[types.NamespacedName][]*gwv1.ListenerSet        // by Gateway
	services map[types.NamespacedName]map[ObjectRef]bool         // behind a Gateway's routes
	policies map[types.NamespacedName]([]*gwv1.BackendTLSPolicy) // by Service
}

// NewNeeds reads ListenerSets, HTTPRoutes, BackendTLSPolicies and ReferenceGrants
// of in.
func NewNeeds(in *Resources) *Needs {
	n := &Needs{
		grants: newGrants(in.ReferenceGrants), sets: map[types.NamespacedName][]*gwv1.ListenerSet{},
		services: map[types.NamespacedName]map[ObjectRef]bool{}, policies: map[types.NamespacedName][]*gwv1.BackendTLSPolicy{},
	}
	parents := map[types.NamespacedName]types.NamespacedName{} // Gateways of sets
	for _, s := range in.ListenerSets {
		if s != nil {
			gateway := types.NamespacedName{Namespace: value(s.Spec.ParentRef.Namespace, s.Namespace), Name: string(s.Spec.ParentRef.Name)}
			n.sets[gateway] = append(n.sets[gateway], s)
			parents[nameOf(s)] = gateway
		}
	}
	for _, p := range in.BackendTLSPolicies {
		for i := 0; p != nil && i < len(p.Spec.TargetRefs); i++ {
			service := types.NamespacedName{Namespace: p.Namespace, Name: string(p.Spec.TargetRefs[i].Name)}
			n.policies[service] = append(n.policies[service], p)
		}
	}
	if len(n.policies) == 0 {
		return n // routes lead to nothing else that needs an object read
	}
	for _, rt := range in.HTTPRoutes {
		if rt != nil {
			n.addRoute(rt, parents)
		}
	}
	return n
}

// addRoute notes the Services behind a route, for the Gateways it names.
func (n *Needs) addRoute(rt *gwv1.HTTPRoute, parents map[types.NamespacedName]types.NamespacedName) {
	for _, p := range rt.Spec.ParentRefs {
		gateway := types.NamespacedName{Namespace: value(p.Namespace, rt.Namespace), Name: string(p.Name)}
		if value(p.Kind, kindGateway) == kindListenerSet {
			gateway = parents[gateway]
		}
		if n.services[gateway] == nil {
			n.services[gateway] = map[ObjectRef]bool{}
		}
		eachBackend(rt, func(r *gwv1.BackendObjectReference) {
			if value(r.Group, "") == "" && value(r.Kind, kindService) == kindService {
				n.services[gateway][ObjectRef{Kind: kindService, Namespace: value(r.Namespace, rt.Namespace), Name: string(r.Name)}] = true
			}
		})
	}
}

// eachBackend calls f with everything a route may send requests to.
func eachBackend(rt *gwv1.HTTPRoute, f func(*gwv1.BackendObjectReference)) {
	mirrors := func(list []gwv1.HTTPRouteFilter) {
		for i := range list {
			if m := list[i].RequestMirror; m != nil {
				f(&m.BackendRef)
			}
		}
	}
	for i := range rt.Spec.Rules {
		r := &rt.Spec.Rules[i]
		mirrors(r.Filters)
		for j := range r.BackendRefs {
			f(&r.BackendRefs[j].BackendObjectReference)
			mirrors(r.BackendRefs[j].Filters)
		}
	}
}

// Of returns the Secrets and ConfigMaps that Gateway g and what is attached to it
// refer to and may read, existing or not, sorted: the certificates of its
// listeners, its own certificate, and the authorities it goes by.
func (n *Needs) Of(g *gwv1.Gateway) []ObjectRef {
	var out []ObjectRef
	add := func(from, to ObjectRef) {
		known := to.Group == "" && (to.Kind == kindSecret || to.Kind == kindConfigMap) && to.Name != ""
		if known && n.grants.permit(from, to) {
			out = append(out, to)
		}
	}
	own := refTo(gatewayGroup, kindGateway, g)
	for i := range g.Spec.Listeners {
		eachCertificate(own, g.Spec.Listeners[i].TLS, add)
	}
	for _, s := range n.sets[nameOf(g)] {
		for i := range s.Spec.Listeners {
			eachCertificate(refTo(gatewayGroup, kindListenerSet, s), s.Spec.Listeners[i].TLS, add)
		}
	}
	eachAuthority(own, g.Spec.TLS, add)
	for service := range n.services[nameOf(g)] {
		for _, p := range n.policies[nameOfRef(service)] {
			for _, r := range p.Spec.Validation.CACertificateRefs {
				from := refTo(gatewayGroup, kindBackendTLS, p)
				add(from, ObjectRef{Group: string(r.Group), Kind: string(r.Kind), Namespace: p.Namespace, Name: string(r.Name)})
			}
		}
	}
	slices.SortFunc(out, CompareRefs)
	return slices.Compact(out)
}

func eachCertificate(from ObjectRef, t *gwv1.ListenerTLSConfig, add func(from, to ObjectRef)) {
	if t == nil {
		return
	}
	for i := range t.CertificateRefs {
		add(from, certificateRef(from, &t.CertificateRefs[i]))
	}
}

// eachAuthority calls add with what a Gateway's spec.tls refers to.
func eachAuthority(from ObjectRef, t *gwv1.GatewayTLSConfig, add func(from, to ObjectRef)) {
	if t == nil {
		return
	}
	if t.Backend != nil && t.Backend.ClientCertificateRef != nil {
		add(from, certificateRef(from, t.Backend.ClientCertificateRef))
	}
	if t.Frontend == nil {
		return
	}
	checks := []*gwv1.FrontendTLSValidation{t.Frontend.Default.Validation}
	for i := range t.Frontend.PerPort {
		checks = append(checks, t.Frontend.PerPort[i].TLS.Validation)
	}
	for _, c := range checks {
		for i := 0; c != nil && i < len(c.CACertificateRefs); i++ {
			r := &c.CACertificateRefs[i]
			add(from, ObjectRef{Group: string(r.Group), Kind: string(r.Kind), Namespace: value(r.Namespace, from.Namespace), Name: string(r.Name)})
		}
	}
}
