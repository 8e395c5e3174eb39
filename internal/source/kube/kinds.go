package kube

import (
	"fmt"

	"crossfade.dev/internal/translate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// object is a typed API object.
type object interface {
	metav1.Object
	GetObjectKind() schema.ObjectKind
}

// kind is one kind of object this source reads.
type kind struct {
	group, name, plural string
	// versions that are read, the preferred one first; objects are handed on as
	// of that one, whichever the API server serves.
	versions []string
	// core kinds are Kubernetes' own: always served, and read as protobuf.
	core bool
	// base kinds are watched in all namespaces, whatever other objects say; of
	// the others demand says what is watched.
	base bool
	// writers alone read it: those who make data planes.
	writers bool
	// vital kinds are awaited by a data plane even while it may not read them: with
	// none of their objects it would be taken for one that is ready to serve.
	vital bool
	// foreign fields of spec are not ours to judge: they are listed as unhonoured.
	foreign bool
	// status says that the kind has a status we write.
	status bool
	// heed returns what data planes read of a status, which is an input of
	// translation then; nil: nobody reads any. Those who write statuses read all of
	// it.
	heed func(status map[string]any) map[string]any
	// fields is a field selector that every watch of the kind has.
	fields string

	new func() object
	// strip removes what translation does not read, so that a change of it is no
	// change; nil removes nothing but what every kind does without.
	strip func(object)
	add   func(*translate.Resources, object)
}

func (k *kind) groupKind() schema.GroupKind { return schema.GroupKind{Group: k.group, Kind: k.name} }

// resource is "plural.group", as rights name it.
func (k *kind) resource() string {
	return schema.GroupResource{Group: k.group, Resource: k.plural}.String()
}

// pointer is a typed API object's pointer type.
type pointer[T any] interface {
	*T
	object
}

// newKind returns a kind whose objects are of type T and go into the list that
// list points out.
func newKind[T any, P pointer[T]](group, name, plural string, versions []string, list func(*translate.Resources) *[]*T) *kind {
	return &kind{
		group: group, name: name, plural: plural, versions: versions,
		new: func() object { return P(new(T)) },
		add: func(r *translate.Resources, o object) {
			l := list(r)
			*l = append(*l, (*T)(o.(P)))
		},
	}
}

// base marks a kind as watched in all namespaces.
func base(k *kind) *kind {
	k.base = true
	return k
}

// judged marks a kind as one whose objects have a status that we write.
func judged(k *kind) *kind {
	k.status = true
	return k
}

// heeded marks a kind as one whose status is an input.
func heeded(k *kind, heed func(map[string]any) map[string]any) *kind {
	k.heed = heed
	return k
}

// forWriters marks a kind as one that no data plane reads.
func forWriters(k *kind) *kind {
	k.writers = true
	return k
}

// vital marks a kind as one without whose objects nothing can be served.
func vital(k *kind) *kind {
	k.vital = true
	return k
}

func foreign(k *kind) *kind {
	k.foreign = true
	return k
}

// core marks a kind as Kubernetes' own.
func core(k *kind) *kind {
	k.core = true
	return k
}

// stripped is core with what of the objects is not read.
func stripped[T any, P pointer[T]](k *kind, strip func(P)) *kind {
	k.strip = func(o object) { strip(o.(P)) }
	return core(k)
}

// findKind returns the kind of a group and name; both come from catalog.go.
func findKind(gk schema.GroupKind) *kind {
	for _, k := range kinds {
		if k.groupKind() == gk {
			return k
		}
	}
	panic(fmt.Sprintf("%s is not among the kinds that are read", gk))
}

// lastApplied is kubectl's copy of an object, which may hold what we do without,
// such as a Secret's data.
const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// trim readies an object for others: it gets its kind's name and loses what no
// reader looks at. What is trimmed already stays as it is.
func (k *kind) trim(o object) {
	o.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{Group: k.group, Version: k.versions[0], Kind: k.name})
	o.SetManagedFields(nil)
	o.SetResourceVersion("")
	o.SetFinalizers(nil)
	if a := o.GetAnnotations(); a[lastApplied] != "" {
		delete(a, lastApplied)
		o.SetAnnotations(a)
	}
	if k.strip != nil {
		k.strip(o)
	}
}

// transform is trim for a reflector, which then never holds the untrimmed form of
// more than one object.
func (k *kind) transform(v any) (any, error) {
	if o, ok := v.(object); ok && k.core {
		rv := o.GetResourceVersion() // the reflector still wants it
		k.trim(o)
		o.SetResourceVersion(rv)
	}
	return v, nil
}
