package kube

import (
	"cmp"
	"slices"

	"crossfade.dev/internal/translate"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	infv1a2 "crossfade.dev/api/inference/v1alpha2"
)

// Kinds that are watched only where other objects name them.
var (
	podKind        = schema.GroupKind{Kind: "Pod"}
	serviceKind    = schema.GroupKind{Kind: "Service"}
	sliceKind      = schema.GroupKind{Group: "discovery.k8s.io", Kind: "EndpointSlice"}
	deploymentKind = schema.GroupKind{Group: "apps", Kind: "Deployment"}
	gatewayKind    = schema.GroupKind{Group: gwv1.GroupName, Kind: "Gateway"}
	classKind      = schema.GroupKind{Group: gwv1.GroupName, Kind: "GatewayClass"}
	poolKind       = schema.GroupKind{Group: infv1.GroupName, Kind: "InferencePool"}
	legacyPoolKind = schema.GroupKind{Group: infv1a2.GroupXK8s, Kind: "InferencePool"}
)

// managedLabel marks the objects of data planes.
const (
	managedLabel = "app.kubernetes.io/managed-by"
	managedBy    = "crossfade"
)

// scope is what one watch covers: the objects of a kind in a namespace (all of
// them when empty), perhaps only the one of a name, or those with some labels.
type scope struct {
	schema.GroupKind
	namespace, name, labels string
}

func compareScopes(a, b scope) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Group, b.Group), cmp.Compare(a.namespace, b.namespace),
		cmp.Compare(a.name, b.name), cmp.Compare(a.labels, b.labels))
}

// role is whom objects are watched for.
type role struct {
	// statuses: all Gateways of our classes, and the data planes made for them.
	statuses bool
	// only is the one Gateway that counts; empty is every one.
	only types.NamespacedName
	// controllers are the controllerNames of our classes; none is every class.
	controllers []string
}

// demand returns what is to be watched besides the base kinds, given the objects
// of those, sorted. Pods are wanted where there are pools, Services and their
// EndpointSlices where routes or pools name one, those of one Gateway's data plane, and of Secrets
// and ConfigMaps just those that our Gateways refer to and may.
func demand(r *translate.Resources, who role) []scope {
	d := &demands{in: r, who: who, scopes: map[scope]bool{}, pools: map[poolName]bool{}}
	d.findGateways()
	d.reads()
	for _, rt := range r.HTTPRoutes {
		if d.leadsToUs(rt) {
			d.route(rt)
		}
	}
	d.allPools()
	if who.statuses {
		const ours = managedLabel + "=" + managedBy
		d.want(scope{GroupKind: deploymentKind, labels: ours})
		d.want(scope{GroupKind: serviceKind, labels: ours})
		if len(r.InferenceRollouts) > 0 {
			d.want(scope{GroupKind: podKind, labels: ours}) // which are asked what they have counted
		}
	}
	d.siblings()
	out := make([]scope, 0, len(d.scopes))
	for s := range d.scopes {
		out = append(out, s)
	}
	slices.SortFunc(out, compareScopes)
	return out
}

// demands is the state of one demand.
type demands struct {
	in       *translate.Resources
	who      role
	gateways map[types.NamespacedName]*gwv1.Gateway        // ours
	sets     map[types.NamespacedName]types.NamespacedName // their Gateways, by ListenerSet
	pools    map[poolName]bool                             // that routes to our Gateways name
	scopes   map[scope]bool
}

type poolName struct {
	group string
	types.NamespacedName
}

func (d *demands) want(s scope) { d.scopes[s] = true }

func (d *demands) findGateways() {
	classes := map[gwv1.ObjectName]bool{}
	for _, c := range d.in.GatewayClasses {
		if len(d.who.controllers) == 0 || slices.Contains(d.who.controllers, string(c.Spec.ControllerName)) {
			classes[gwv1.ObjectName(c.Name)] = true
		}
	}
	d.sets = map[types.NamespacedName]types.NamespacedName{}
	for _, s := range d.in.ListenerSets {
		parent := string(value(s.Spec.ParentRef.Namespace, gwv1.Namespace(s.Namespace)))
		d.sets[types.NamespacedName{Namespace: s.Namespace, Name: s.Name}] = types.NamespacedName{Namespace: parent, Name: string(s.Spec.ParentRef.Name)}
	}
	d.gateways = map[types.NamespacedName]*gwv1.Gateway{}
	for _, g := range d.in.Gateways {
		name := types.NamespacedName{Namespace: g.Namespace, Name: g.Name}
		// A data plane was made for its Gateway, whatever becomes of the class.
		if d.who.only == name || d.who.only.Name == "" && classes[g.Spec.GatewayClassName] {
			d.gateways[name] = g
		}
	}
}

// reads wants the Secrets and ConfigMaps that our Gateways refer to and may read.
func (d *demands) reads() {
	needs := translate.NewNeeds(d.in)
	for _, g := range d.gateways {
		for _, ref := range needs.Of(g) {
			d.want(scope{GroupKind: schema.GroupKind{Group: ref.Group, Kind: ref.Kind}, namespace: ref.Namespace, name: ref.Name})
		}
	}
}

// leadsToUs says whether a parent of the route is a Gateway of ours, or leads to
// one.
func (d *demands) leadsToUs(rt *gwv1.HTTPRoute) bool {
	return slices.ContainsFunc(rt.Spec.ParentRefs, func(p gwv1.ParentReference) bool {
		if value(p.Group, gwv1.GroupName) != gwv1.GroupName {
			return false // such as a Service, in a mesh
		}
		name := types.NamespacedName{Namespace: string(value(p.Namespace, gwv1.Namespace(rt.Namespace))), Name: string(p.Name)}
		if value(p.Kind, "Gateway") == "ListenerSet" {
			name = d.sets[name]
		}
		return d.gateways[name] != nil
	})
}

func (d *demands) route(rt *gwv1.HTTPRoute) {
	for i := range rt.Spec.Rules {
		r := &rt.Spec.Rules[i]
		d.filters(rt, r.Filters)
		for j := range r.BackendRefs {
			d.backend(rt, &r.BackendRefs[j].BackendObjectReference)
			d.filters(rt, r.BackendRefs[j].Filters)
		}
	}
}

func (d *demands) filters(rt *gwv1.HTTPRoute, list []gwv1.HTTPRouteFilter) {
	for i := range list {
		if m := list[i].RequestMirror; m != nil {
			d.backend(rt, &m.BackendRef)
		}
		if a := list[i].ExternalAuth; a != nil {
			d.backend(rt, &a.BackendRef)
		}
	}
}

func (d *demands) backend(rt *gwv1.HTTPRoute, r *gwv1.BackendObjectReference) {
	namespace := string(value(r.Namespace, gwv1.Namespace(rt.Namespace)))
	switch gk := (schema.GroupKind{Group: string(value(r.Group, "")), Kind: string(value(r.Kind, "Service"))}); gk {
	case serviceKind:
		d.services(namespace)
	case poolKind, legacyPoolKind:
		d.pools[poolName{gk.Group, types.NamespacedName{Namespace: namespace, Name: string(r.Name)}}] = true
	}
}

func (d *demands) services(namespace string) {
	d.want(scope{GroupKind: serviceKind, namespace: namespace})
	d.want(scope{GroupKind: sliceKind, namespace: namespace})
}

// siblings wants the EndpointSlices of the one data plane's own Service, from which
// its pods know each other, unless all of the namespace are wanted anyway.
func (d *demands) siblings() {
	g := d.gateways[d.who.only]
	if g == nil || d.scopes[scope{GroupKind: sliceKind, namespace: g.Namespace}] {
		return
	}
	name := translate.DataPlaneService(g)
	d.want(scope{GroupKind: sliceKind, namespace: name.Namespace, labels: discoveryv1.LabelServiceName + "=" + name.Name})
}

// allPools wants the pods of pools and the Services of their pickers: for one
// Gateway of the pools that its routes name, else of every pool.
func (d *demands) allPools() {
	for _, p := range d.in.InferencePools {
		e := p.Spec.EndpointPickerRef
		d.pool(poolKind.Group, p.Namespace, p.Name, e != nil && value(e.Group, "") == "" && (e.Kind == "" || e.Kind == "Service"))
	}
	for _, p := range d.in.LegacyInferencePools {
		e := p.Spec.ExtensionRef
		d.pool(legacyPoolKind.Group, p.Namespace, p.Name, e != nil && value(e.Group, "") == "" && value(e.Kind, "Service") == "Service")
	}
}

func (d *demands) pool(group, namespace, name string, picked bool) {
	if d.who.only != (types.NamespacedName{}) && !d.pools[poolName{group, types.NamespacedName{Namespace: namespace, Name: name}}] {
		return
	}
	d.want(scope{GroupKind: podKind, namespace: namespace})
	if picked {
		d.services(namespace)
	}
}

// value returns what p points to, or the default when it points to nothing.
func value[T ~string](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}
