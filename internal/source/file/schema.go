package file

import (
	"fmt"
	"sync"

	"crossfade.dev/api/crd"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

// crdSchema is one version of a CRD, ready to judge objects. It is safe for
// concurrent use.
type crdSchema struct {
	structural *structural.Structural
	openAPI    validation.SchemaValidator
	rules      *cel.Validator // nil when the schema has no rules
	// typed is the schema without permission for fields it does not name.
	typed *structural.Structural
}

// compiled returns a schema, compiling it the first time.
type compiled func() (*crdSchema, error)

func compileOnce(file, version string) compiled {
	return sync.OnceValues(func() (*crdSchema, error) {
		s, err := compile(file, version)
		if err != nil {
			return nil, fmt.Errorf("compile %s of %s: %w", version, file, err)
		}
		return s, nil
	})
}

func compile(file, version string) (*crdSchema, error) {
	props, err := schemaProps(file, version)
	if err != nil {
		return nil, err
	}
	// Statuses are ours to write: what a file says of them is dropped unread.
	delete(props.Properties, "status")
	s, err := structural.NewStructural(props)
	if err != nil {
		return nil, err
	}
	openAPI, _, err := validation.NewSchemaValidator(props)
	if err != nil {
		return nil, err
	}
	typed := s.DeepCopy()
	forbidUnknown(typed)
	return &crdSchema{
		structural: s,
		openAPI:    openAPI,
		rules:      cel.NewValidator(s, true, celconfig.PerCallLimit),
		typed:      typed,
	}, nil
}

func schemaProps(file, version string) (*apiextensions.JSONSchemaProps, error) {
	raw, err := crd.Read(file)
	if err != nil {
		return nil, err
	}
	var def apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(raw, &def); err != nil {
		return nil, err
	}
	for _, v := range def.Spec.Versions {
		if v.Name == version {
			var props apiextensions.JSONSchemaProps
			err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &props, nil)
			return &props, err
		}
	}
	return nil, fmt.Errorf("no version %s", version)
}

// forbidUnknown takes the permission to carry unknown fields from every object of
// s that names some fields.
func forbidUnknown(s *structural.Structural) {
	if len(s.Properties) > 0 {
		s.XPreserveUnknownFields = false
	}
	for name, p := range s.Properties {
		forbidUnknown(&p)
		s.Properties[name] = p
	}
	if s.Items != nil {
		forbidUnknown(s.Items)
	}
}
