package translate

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// namespaces are the labels of namespaces by name.
type namespaces map[string]labels.Set

func newNamespaces(list []*corev1.Namespace) namespaces {
	out := namespaces{}
	for _, n := range list {
		if n != nil {
			out[n.Name] = n.Labels
		}
	}
	return out
}

// labels returns the labels of a namespace; every namespace carries its name as a
// label, also one that has no object here.
func (n namespaces) labels(name string) labels.Set {
	return labels.Merge(labels.Set{corev1.LabelMetadataName: name}, n[name])
}

// let says whether an object in namespace own that lets in what from and selector
// say lets in what is in namespace name.
func (n namespaces) let(own, name string, from gwv1.FromNamespaces, selector *metav1.LabelSelector) (bool, error) {
	switch from {
	case gwv1.NamespacesFromAll:
		return true, nil
	case gwv1.NamespacesFromSame:
		return own == name, nil
	case gwv1.NamespacesFromSelector:
		match, err := metav1.LabelSelectorAsSelector(selector)
		return err == nil && match.Matches(n.labels(name)), err
	}
	return false, nil
}

// letListeners says whether Gateway g takes listeners from a namespace.
func (n namespaces) letListeners(g *gwv1.Gateway, namespace string) (bool, error) {
	from, selector := gwv1.NamespacesFromNone, (*metav1.LabelSelector)(nil)
	if a := g.Spec.AllowedListeners; a != nil && a.Namespaces != nil && a.Namespaces.From != nil {
		from, selector = *a.Namespaces.From, a.Namespaces.Selector
	}
	return n.let(g.Namespace, namespace, from, selector)
}

// letRoutes says whether a listener of an object in namespace own, which allows
// what allowed says, takes routes from a namespace.
func (n namespaces) letRoutes(own string, allowed *gwv1.AllowedRoutes, namespace string) bool {
	from, selector := gwv1.NamespacesFromSame, (*metav1.LabelSelector)(nil)
	if allowed != nil && allowed.Namespaces != nil && allowed.Namespaces.From != nil {
		from, selector = *allowed.Namespaces.From, allowed.Namespaces.Selector
	}
	ok, err := n.let(own, namespace, from, selector)
	return ok && err == nil
}
