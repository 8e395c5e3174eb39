package kube

import (
	"strings"

	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// onStatus has tell called, from any goroutine, with objects whose status may have
// changed, until stop is called.
func (s *Source) onStatus(tell func([]translate.ObjectRef)) (stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listener = tell
	return func() {
		s.mu.Lock()
		s.listener = nil
		s.mu.Unlock()
	}
}

// find returns what is known of an object of a base kind, or nil.
func (s *Source) find(ref translate.ObjectRef) *entry {
	gk := schema.GroupKind{Group: ref.Group, Kind: ref.Kind}
	for _, version := range findKind(gk).versions {
		if w := s.watches[key{scope{GroupKind: gk}, version}]; w != nil {
			return w.store.objects[types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}]
		}
	}
	return nil
}

// live returns the status of an object, or nil.
func (s *Source) live(ref translate.ObjectRef) *live {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.find(ref); e != nil {
		return e.live
	}
	return nil
}

// holds says whether there is an object of a base kind.
func (s *Source) holds(ref translate.ObjectRef) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(ref) != nil
}

// judgedObjects returns all objects that have a status we write.
func (s *Source) judgedObjects() []translate.ObjectRef {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []translate.ObjectRef
	for _, w := range s.watches {
		if !w.kind.status {
			continue
		}
		for name, e := range w.store.objects {
			if e.live != nil {
				out = append(out, w.store.ref(name))
			}
		}
	}
	return out
}

// sure says whether all Gateways and their classes are known.
func (s *Source) sure() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := map[schema.GroupKind]bool{}
	for at, w := range s.watches {
		known[at.GroupKind] = w.store.synced && w.trouble != forbidden
	}
	return known[gatewayKind] && known[classKind]
}

// lacks says whether the Deployment or the Service of a data plane is missing.
func (s *Source) lacks(p *translate.DataPlane) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := types.NamespacedName{Namespace: p.Gateway.Namespace, Name: p.Name}
	for _, gk := range []schema.GroupKind{deploymentKind, serviceKind} {
		if gk == serviceKind && len(p.Ports) == 0 {
			continue
		}
		w := s.watches[key{scope{GroupKind: gk, labels: managedLabel + "=" + managedBy}, "v1"}]
		if w != nil && w.store.synced && w.store.objects[name] == nil {
			return true
		}
	}
	return false
}

// undecided says of a Gateway, "namespace/name", that nobody can tell whose it is:
// its class is missing. What serves it stays until that is known.
func (s *Source) undecided(gateway string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	namespace, name, ok := strings.Cut(gateway, "/")
	e := s.find(translate.ObjectRef{Group: gatewayKind.Group, Kind: gatewayKind.Kind, Namespace: namespace, Name: name})
	if !ok || e == nil {
		return !ok
	}
	g, ok := e.object.(*gwv1.Gateway)
	return !ok || s.find(translate.ObjectRef{Group: classKind.Group, Kind: classKind.Kind, Name: string(g.Spec.GatewayClassName)}) == nil
}
