package file

import (
	"slices"

	"crossfade.dev/internal/translate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// object is a typed API object.
type object interface {
	metav1.Object
	GetObjectKind() schema.ObjectKind
}

// kind is one kind of object this source reads.
type kind struct {
	group, name string
	// versions that are read; the first is the one objects are handed on as.
	versions []string
	cluster  bool // not in a namespace
	// schemas of a custom kind, by version; nil for a kind of Kubernetes itself.
	schemas map[string]compiled
	// foreign fields of spec are not ours to judge: they are listed as unhonoured
	// instead of unknown.
	foreign bool
	// validName of objects; nil is a DNS subdomain.
	validName func(name string, prefix bool) []string

	new   func() object
	clone func(object) object // shallow
	// complete fills in what an API server would; check finds what it would
	// refuse. Both are of the kinds of Kubernetes itself and may be nil.
	complete func(object)
	check    func(object) field.ErrorList
	add      func(*translate.Resources, object)
}

func (k *kind) reads(version string) bool { return slices.Contains(k.versions, version) }

// apiVersion is what objects of the kind carry when they are handed on.
func (k *kind) apiVersion() string {
	return schema.GroupVersion{Group: k.group, Version: k.versions[0]}.String()
}

// pointer is a typed API object's pointer type.
type pointer[T any] interface {
	*T
	object
}

// newKind returns a kind whose objects are of type T and go into the list that
// list points out, or nowhere when it is nil.
func newKind[T any, P pointer[T]](group, name string, versions []string, list func(*translate.Resources) *[]*T) *kind {
	return &kind{
		group:    group,
		name:     name,
		versions: versions,
		new:      func() object { return P(new(T)) },
		clone: func(o object) object {
			c := *o.(P)
			return P(&c)
		},
		add: func(r *translate.Resources, o object) {
			if list != nil {
				l := list(r)
				*l = append(*l, (*T)(o.(P)))
			}
		},
	}
}

// findKind returns the kind of a group and name, or nil.
func findKind(group, name string) *kind {
	for _, k := range kinds {
		if k.group == group && k.name == name {
			return k
		}
	}
	return nil
}

// kindsOf returns the names of the kinds of a group.
func kindsOf(group string) []string {
	var names []string
	for _, k := range kinds {
		if k.group == group {
			names = append(names, k.name)
		}
	}
	return names
}

// namesake returns a kind that is called name in any group, or nil.
func namesake(name string) *kind {
	for _, k := range kinds {
		if k.name == name {
			return k
		}
	}
	return nil
}
