package file

import (
	"errors"

	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	kjson "sigs.k8s.io/json"
)

// defaultNamespace is where namespaced objects are that do not say.
const defaultNamespace = "default"

// metadata is an object's checked metadata.
type metadata struct{ metav1.ObjectMeta }

// decodeMetadata reads and checks the metadata of v, of a known kind. It reports
// false when nothing can be read.
func (d *document) decodeMetadata(v map[string]any) (*metadata, bool) {
	m := &metadata{}
	only := map[string]any{"metadata": v["metadata"]}
	var holder struct {
		Metadata metav1.ObjectMeta `json:"metadata"`
	}
	strict, err := kjson.UnmarshalStrict(mustJSON(only), &holder, kjson.DisallowUnknownFields)
	if err != nil {
		d.reportMisfit(only, func() any {
			return &struct {
				Metadata metav1.ObjectMeta `json:"metadata"`
			}{}
		})
		return m, false
	}
	d.reportUnknown(strict, nil)
	m.ObjectMeta = holder.Metadata
	d.placeInNamespace(m)

	validName := d.kind.validName
	if validName == nil {
		validName = validation.NameIsDNSSubdomain
	}
	d.reportFields(validation.ValidateObjectMeta(&m.ObjectMeta, !d.kind.cluster, validName, field.NewPath("metadata")))
	return m, true
}

// placeInNamespace gives namespaced objects a namespace and takes it from others.
func (d *document) placeInNamespace(m *metadata) {
	switch {
	case d.kind.cluster && m.Namespace != "":
		m.Namespace = ""
		d.report(translate.Warning, "metadata.namespace", "is dropped: a "+d.kind.name+" is not in a namespace", "remove it")
	case !d.kind.cluster && m.Namespace == "":
		m.Namespace = defaultNamespace
	}
}

// apply sets the metadata of o, without what only an API server or a controller
// may say.
func (m *metadata) apply(o object) {
	o.SetNamespace(m.Namespace)
	o.SetUID("")
	o.SetResourceVersion("")
	o.SetGeneration(0)
	o.SetDeletionTimestamp(nil)
	o.SetDeletionGracePeriodSeconds(nil)
	o.SetManagedFields(nil)
}

// reportUnknown warns of the fields in strict errors of a decoder. siblings may
// return the known fields beside a path.
func (d *document) reportUnknown(strict []error, siblings func(path string) []string) {
	for _, s := range strict {
		var f kjson.FieldError
		if errors.As(s, &f) {
			d.unknownField(f.FieldPath(), siblings)
		}
	}
}

// unknownField warns of a field that no schema knows.
func (d *document) unknownField(path string, siblings func(path string) []string) {
	remedy := "check its spelling and indentation, or remove it"
	if other := otherVersion(d.kind, path); other != "" {
		remedy = other
	} else if siblings != nil {
		if near := nearest(lastName(path), siblings(path)); near != "" {
			remedy = "did you mean " + near + "?"
		}
	}
	d.report(translate.Warning, path, "unknown field, ignored", remedy)
}
