package crd_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"crossfade.dev/api/crd"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	k8svalidation "k8s.io/apimachinery/pkg/util/validation"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"
)

// load reads one file into the type an API server would store, and fails on
// fields that the type lacks.
func load(t *testing.T, name string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	raw, err := crd.Read(name)
	if err != nil {
		t.Fatal(err)
	}
	var out apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(raw, &out); err != nil {
		t.Fatal(err)
	}
	return &out
}

// What an API server checks on create: structural schemas, defaults that fit
// them, and CEL rules that compile. (Its own function for this also needs the
// modules of its webhooks; it accepts these files, run by hand.)
func TestSchemasAreValid(t *testing.T) {
	for _, name := range crd.Names() {
		for _, v := range load(t, name).Spec.Versions {
			t.Run(name+"/"+v.Name, func(t *testing.T) {
				var props apiextensions.JSONSchemaProps
				if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(v.Schema.OpenAPIV3Schema, &props, nil); err != nil {
					t.Fatal(err)
				}
				s, err := schema.NewStructural(&props)
				if err != nil {
					t.Fatal(err)
				}
				errs := schema.ValidateStructural(nil, s)
				defaults, err := defaulting.ValidateDefaults(context.Background(), nil, s, true, true)
				if err != nil {
					t.Fatal(err)
				}
				for _, err := range append(errs, defaults...) {
					t.Error(err)
				}
				compileRules(t, s, true)
			})
		}
	}
}

// compileRules compiles the CEL rules of s and below.
func compileRules(t *testing.T, s *schema.Structural, root bool) {
	t.Helper()
	if len(s.XValidations) > 0 {
		env := environment.MustBaseEnvSet(environment.DefaultCompatibilityVersion())
		rules, err := cel.Compile(s, model.SchemaDeclType(s, root), celconfig.PerCallLimit, env, cel.NewExpressionsEnvLoader())
		if err != nil {
			t.Error(err)
		}
		for i, r := range rules {
			if r.Error != nil {
				t.Errorf("%s: %v", s.XValidations[i].Rule, r.Error)
			}
		}
	}
	for _, p := range s.Properties {
		compileRules(t, &p, false)
	}
	if s.Items != nil {
		compileRules(t, s.Items, false)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Structural != nil {
		compileRules(t, s.AdditionalProperties.Structural, false)
	}
}

// Names are those an API server and kubectl take.
func TestNamesAreLabels(t *testing.T) {
	for _, name := range crd.Names() {
		n := load(t, name).Spec.Names
		for _, label := range append([]string{n.Plural, n.Singular, strings.ToLower(n.Kind), strings.ToLower(n.ListKind)}, n.ShortNames...) {
			for _, msg := range k8svalidation.IsDNS1035Label(label) {
				t.Errorf("%s: %q: %s", name, label, msg)
			}
		}
	}
}

func TestFilesAreNamedForTheirKind(t *testing.T) {
	for _, name := range crd.Names() {
		def := load(t, name)
		if want := def.Spec.Group + "_" + def.Spec.Names.Plural + ".yaml"; name != want {
			t.Errorf("%s defines %s: its name must be %s", name, def.Name, want)
		}
	}
}

// Statuses are written apart from the objects, and kubectl get says more than a name.
func TestStatusAndColumns(t *testing.T) {
	for _, name := range crd.Names() {
		def := load(t, name)
		for _, v := range def.Spec.Versions {
			// Two kinds have no status; the v1 InferencePool and v1alpha3, a version that is
			// on its way out, come without columns.
			if !slices.Contains([]string{"ReferenceGrant", "GatewayParameters"}, def.Spec.Names.Kind) && (v.Subresources == nil || v.Subresources.Status == nil) {
				t.Errorf("%s %s has no status subresource", name, v.Name)
			}
			if len(v.AdditionalPrinterColumns) == 0 && name != "inference.networking.k8s.io_inferencepools.yaml" && v.Name != "v1alpha3" {
				t.Errorf("%s %s has no printer columns", name, v.Name)
			}
		}
	}
}

// The bundle versions are those of the modules, which conformance suites compare.
func TestBundleVersions(t *testing.T) {
	for _, name := range crd.Names() {
		def := load(t, name)
		switch {
		case def.Spec.Group == "gateway.networking.k8s.io":
			if v := def.Annotations["gateway.networking.k8s.io/bundle-version"]; v != "v1.6.1" {
				t.Errorf("%s: bundle version %q", name, v)
			}
			if c := def.Annotations["gateway.networking.k8s.io/channel"]; c != "experimental" {
				t.Errorf("%s: channel %q", name, c)
			}
		case name == "inference.networking.k8s.io_inferencepools.yaml":
			if v := def.Annotations["inference.networking.k8s.io/bundle-version"]; v != "v1.6.0" {
				t.Errorf("%s: bundle version %q", name, v)
			}
		default:
			for key := range def.Annotations {
				if strings.HasSuffix(key, "/bundle-version") {
					t.Errorf("%s claims to be of a bundle", name)
				}
			}
		}
	}
}
