package kube

import (
	"fmt"

	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
)

// entry is what is known of one object. Entries and their objects do not change.
type entry struct {
	object     object             // nil when it does not fit our type
	problem    *translate.Problem // why it does not
	unhonoured []string
	live       *live // of kinds whose status we write
}

// live is what a status is judged by that is to be written.
type live struct {
	uid             types.UID
	resourceVersion string
	version         string         // of the API it was read in
	status          map[string]any // read only
}

// same says whether two entries are the same to translation.
func (e *entry) same(other *entry) bool {
	return equality.Semantic.DeepEqual(e.object, other.object) &&
		equality.Semantic.DeepEqual(e.problem, other.problem) &&
		equality.Semantic.DeepEqual(e.unhonoured, other.unhonoured)
}

// store holds the objects of one watch and is filled by its reflector. Whoever
// reads it holds the lock of the source.
type store struct {
	kind    *kind
	version string
	source  *Source
	objects map[types.NamespacedName]*entry
	synced  bool // objects are, or once were, all there are
}

var _ cache.TransformingStore = (*store)(nil)

func (s *store) Add(v any) error                  { return s.Update(v) }
func (s *store) Resync() error                    { return nil }
func (s *store) Transformer() cache.TransformFunc { return s.kind.transform }

// Update takes in a new or changed object.
func (s *store) Update(v any) error {
	name, e, err := s.entry(v)
	if err != nil {
		return err
	}
	s.source.mu.Lock()
	changed, judged := s.set(name, e)
	s.source.mu.Unlock()
	s.source.noticed(changed, judged)
	return nil
}

// set stores e. It reports whether translation will see a difference, and the
// objects whose status may want writing.
func (s *store) set(name types.NamespacedName, e *entry) (changed bool, judged []translate.ObjectRef) {
	old := s.objects[name]
	changed = old == nil || !old.same(e)
	if !changed {
		e.object = old.object // one copy serves those who kept the old one
	}
	s.objects[name] = e
	if e.live != nil && (old == nil || old.live == nil || old.live.resourceVersion != e.live.resourceVersion) {
		judged = append(judged, s.ref(name))
	}
	return changed, judged
}

// Delete forgets an object.
func (s *store) Delete(v any) error {
	o, err := meta.Accessor(v)
	if err != nil {
		return err
	}
	s.source.mu.Lock()
	delete(s.objects, nameOf(o))
	s.source.mu.Unlock()
	s.source.noticed(true, nil)
	return nil
}

// Replace takes in all objects there are.
func (s *store) Replace(list []any, _ string) error {
	entries := make(map[types.NamespacedName]*entry, len(list))
	for _, v := range list {
		name, e, err := s.entry(v)
		if err != nil {
			return err
		}
		entries[name] = e
	}
	s.source.mu.Lock()
	changed := !s.synced
	var judged []translate.ObjectRef
	for name := range s.objects {
		if entries[name] == nil {
			delete(s.objects, name)
			changed = true
		}
	}
	for name, e := range entries {
		c, j := s.set(name, e)
		changed, judged = changed || c, append(judged, j...)
	}
	s.synced = true
	s.source.mu.Unlock()
	s.source.noticed(changed, judged)
	return nil
}

func (s *store) ref(name types.NamespacedName) translate.ObjectRef {
	return translate.ObjectRef{Group: s.kind.group, Kind: s.kind.name, Namespace: name.Namespace, Name: name.Name}
}

func nameOf(o metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// entry readies what a reflector hands over, which is ours from then on.
func (s *store) entry(v any) (types.NamespacedName, *entry, error) {
	switch o := v.(type) {
	case *unstructured.Unstructured:
		return nameOf(o), s.decode(o), nil
	case object:
		s.kind.trim(o)
		return nameOf(o), &entry{object: o}, nil
	}
	return types.NamespacedName{}, nil, fmt.Errorf("%s: the API server sent a %T", s.kind.resource(), v)
}
