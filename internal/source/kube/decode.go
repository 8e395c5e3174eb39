package kube

import (
	"errors"
	"slices"
	"strings"

	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "sigs.k8s.io/json"
)

// decode makes an object of our type of o. The status is kept apart where we write
// it, and goes with the object where it is an input.
func (s *store) decode(o *unstructured.Unstructured) *entry {
	e := &entry{uid: o.GetUID()}
	if s.kind.status && s.source.options.Statuses {
		e.live = liveOf(o, s.version)
	}
	name := nameOf(o)
	s.heed(o)
	o.SetManagedFields(nil)
	typed := s.kind.new()
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, typed); err != nil {
		e.problem = &translate.Problem{
			Severity: translate.Error, Ref: s.ref(name),
			Message: "cannot be read: " + withoutValue(err), Remedy: "correct the field, or install the CRD that Crossfade comes with",
		}
		return e
	}
	if s.kind.foreign {
		e.unhonoured = s.unhonoured(o)
	}
	s.kind.trim(typed)
	e.object = typed
	return e
}

// heed leaves of o's status what is an input to whom the objects are for.
func (s *store) heed(o *unstructured.Unstructured) {
	status, ok := o.Object["status"].(map[string]any)
	switch {
	case s.kind.heed == nil || !ok:
		delete(o.Object, "status")
	case !s.source.options.Statuses:
		o.Object["status"] = s.kind.heed(status)
	}
}

// withoutValue shortens an error of a decoder to what it is about.
func withoutValue(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	const longest = 200
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}

// unhonoured returns the paths below spec that our type does not have.
func (s *store) unhonoured(o *unstructured.Unstructured) []string {
	text, err := o.MarshalJSON()
	if err != nil {
		return nil
	}
	strict, err := kjson.UnmarshalStrict(text, s.kind.new(), kjson.DisallowUnknownFields)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range strict {
		var f kjson.FieldError
		if errors.As(e, &f) && strings.HasPrefix(f.FieldPath(), "spec.") {
			out = append(out, f.FieldPath())
		}
	}
	slices.Sort(out)
	return out
}
