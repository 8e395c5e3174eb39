package v1alpha1_test

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"crossfade.dev/api/crd"
	"crossfade.dev/api/v1alpha1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// The types and the CustomResourceDefinitions have the same fields, of types that go
// together: what a schema lets through is read, and what is written is kept.
func TestTypesAreThoseOfTheSchemas(t *testing.T) {
	for file, object := range map[string]any{
		"crossfade.dev_inferencerollouts.yaml": v1alpha1.InferenceRollout{},
		"crossfade.dev_gatewayparameters.yaml": v1alpha1.GatewayParameters{},
	} {
		raw, err := crd.Read(file)
		if err != nil {
			t.Fatal(err)
		}
		var def apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(raw, &def); err != nil {
			t.Fatal(err)
		}
		compareFields(t, def.Spec.Names.Kind, reflect.TypeOf(object), def.Spec.Versions[0].Schema.OpenAPIV3Schema)
	}
}

// Every string and list is bounded, as a stranger's object must be.
func TestEverythingIsBounded(t *testing.T) {
	raw, err := crd.Read("crossfade.dev_inferencerollouts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var def apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(raw, &def); err != nil {
		t.Fatal(err)
	}
	root := def.Spec.Versions[0].Schema.OpenAPIV3Schema
	for _, part := range []string{"spec", "status"} {
		s := root.Properties[part]
		findUnbounded(t, part, &s)
	}
}

func findUnbounded(t *testing.T, path string, s *apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	switch s.Type {
	case "string":
		if s.MaxLength == nil && len(s.Enum) == 0 && s.Format != "date-time" {
			t.Errorf("%s may be of any length", path)
		}
	case "array":
		if s.MaxItems == nil || s.XListType == nil {
			t.Errorf("%s may have any number of items, or has no list type", path)
		}
		findUnbounded(t, path+"[]", s.Items.Schema)
	case "object":
		for name, p := range s.Properties {
			findUnbounded(t, path+"."+name, &p)
		}
	}
}

// opaque types have a form of their own in JSON, or a schema that an API server has.
var opaque = map[reflect.Type]bool{
	reflect.TypeFor[metav1.Duration](): true, reflect.TypeFor[metav1.Time](): true, reflect.TypeFor[metav1.ObjectMeta](): true,
}

func compareFields(t *testing.T, path string, typ reflect.Type, s *apiextensionsv1.JSONSchemaProps) {
	t.Helper()
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch {
	case opaque[typ] || strings.HasPrefix(typ.PkgPath(), "k8s.io/api/"): // of which we take a part
	case typ.Kind() == reflect.Slice:
		if s.Type != "array" {
			t.Errorf("%s is a %s to the schema", path, s.Type)
			return
		}
		compareFields(t, path+"[]", typ.Elem(), s.Items.Schema)
	case typ.Kind() == reflect.Struct:
		fields := fieldsOf(typ)
		for name, f := range fields {
			if p, ok := s.Properties[name]; ok {
				compareFields(t, path+"."+name, f, &p)
			} else if len(s.Properties) > 0 {
				t.Errorf("%s.%s is not in the schema, so it is never read", path, name)
			}
		}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			if fields[name] == nil {
				t.Errorf("%s.%s is in the schema alone", path, name)
			}
		}
	default:
		want := map[reflect.Kind]string{reflect.String: "string", reflect.Bool: "boolean", reflect.Int32: "integer", reflect.Int64: "integer", reflect.Float64: "number", reflect.Map: "object"}[typ.Kind()]
		if s.Type != want {
			t.Errorf("%s is a %s, and a %s to the schema", path, typ, s.Type)
		}
	}
}

// fieldsOf returns the types of a struct's fields by their names in JSON.
func fieldsOf(typ reflect.Type) map[string]reflect.Type {
	out := map[string]reflect.Type{}
	for i := range typ.NumField() {
		f := typ.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if options == "inline" {
			maps.Copy(out, fieldsOf(f.Type))
		} else if name != "-" {
			out[name] = f.Type
		}
	}
	return out
}
