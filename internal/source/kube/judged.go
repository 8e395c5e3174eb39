package kube

import (
	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
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

// watchOf returns the watch of a base kind, or nil when it is not served.
func (s *Source) watchOf(gk schema.GroupKind) *watch {
	for _, version := range findKind(gk).versions {
		if w := s.watches[key{scope{GroupKind: gk}, version}]; w != nil {
			return w
		}
	}
	return nil
}

// find returns what is known of an object of a base kind, or nil.
func (s *Source) find(ref translate.ObjectRef) *entry {
	if w := s.watchOf(schema.GroupKind{Group: ref.Group, Kind: ref.Kind}); w != nil {
		return w.store.objects[types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}]
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
	for _, gk := range []schema.GroupKind{gatewayKind, classKind} {
		if w := s.watchOf(gk); w == nil || w.blind() {
			return false
		}
	}
	return true
}

// blind says that there may be Gateways or classes that are not known, for they may
// not be read. What is no concern of ours cannot be told then.
func (s *Source) blind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, gk := range []schema.GroupKind{gatewayKind, classKind} {
		if w := s.watchOf(gk); w != nil && w.blind() {
			return true
		}
	}
	return false
}

// blind says that w does not know what there is.
func (w *watch) blind() bool { return !w.store.synced || w.trouble == forbidden }

// lacks says whether the Deployment or the Service of a data plane is missing, and
// should not be.
func (s *Source) lacks(p *translate.DataPlane) bool {
	if p.Keep {
		return false
	}
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
