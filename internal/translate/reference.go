package translate

import (
	"cmp"

	infv1a2 "crossfade.dev/api/inference/v1alpha2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Groups of the kinds that routes and policies refer to; the core group is "".
const (
	gatewayGroup   = gwv1.GroupName
	inferenceGroup = infv1.GroupName
	legacyGroup    = infv1a2.GroupXK8s
)

// Kinds named in references.
const (
	kindGatewayClass  = "GatewayClass"
	kindGateway       = "Gateway"
	kindHTTPRoute     = "HTTPRoute"
	kindService       = "Service"
	kindSecret        = "Secret"
	kindPod           = "Pod"
	kindInferencePool = "InferencePool"
)

func refTo(group, kind string, o metav1.Object) ObjectRef {
	return ObjectRef{Group: group, Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}

func nameOfRef(r ObjectRef) types.NamespacedName {
	return types.NamespacedName{Namespace: r.Namespace, Name: r.Name}
}

// value returns what p points to, or the default when it points to nothing.
func value[T ~string](p *T, def string) string {
	if p == nil {
		return def
	}
	return string(*p)
}

// grants are the ReferenceGrants of each namespace.
type grants map[string][]*gwv1.ReferenceGrant

func newGrants(list []*gwv1.ReferenceGrant) grants {
	g := grants{}
	for _, r := range list {
		if r != nil {
			g[r.Namespace] = append(g[r.Namespace], r)
		}
	}
	return g
}

// permit reports whether from may refer to to: always within a namespace, else
// when a ReferenceGrant in to's namespace says so.
func (g grants) permit(from, to ObjectRef) bool {
	if from.Namespace == to.Namespace {
		return true
	}
	for _, r := range g[to.Namespace] {
		if grantsFrom(r, from) && grantsTo(r, to) {
			return true
		}
	}
	return false
}

func grantsFrom(r *gwv1.ReferenceGrant, from ObjectRef) bool {
	for _, f := range r.Spec.From {
		if string(f.Group) == from.Group && string(f.Kind) == from.Kind && string(f.Namespace) == from.Namespace {
			return true
		}
	}
	return false
}

func grantsTo(r *gwv1.ReferenceGrant, to ObjectRef) bool {
	for _, t := range r.Spec.To {
		if string(t.Group) == to.Group && string(t.Kind) == to.Kind && cmp.Or(value(t.Name, ""), to.Name) == to.Name {
			return true
		}
	}
	return false
}

// grantRemedy says how to permit a reference.
func grantRemedy(from, to ObjectRef) string {
	return "add a ReferenceGrant in namespace " + to.Namespace + " from " + from.Kind + " of namespace " + from.Namespace + " to " + to.Kind + " " + to.Name
}
