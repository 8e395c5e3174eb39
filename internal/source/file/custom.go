package file

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"crossfade.dev/internal/translate"
	structural "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	kjson "sigs.k8s.io/json"
)

// decodeCustom takes v, an object of a kind with a CRD, through the stages of an
// API server. It changes v.
func (d *document) decodeCustom(v map[string]any) {
	s, err := d.kind.schemas[d.version]()
	if err != nil {
		panic(err) // the schema is part of the binary
	}
	delete(v, "status")
	track := structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(v, s.structural, true, track) {
		d.unknownField(path, s.siblings)
	}
	if d.kind.foreign {
		d.unhonoured = s.unhonoured(v)
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(v, s.structural)
	defaulting.Default(v, s.structural)

	d.reportFields(s.validate(v))
	if d.failed() {
		return
	}
	o := d.kind.new()
	if err := kjson.UnmarshalCaseSensitivePreserveInts(mustJSON(v), o); err != nil {
		d.reportMisfit(v, func() any { return d.kind.new() })
		return
	}
	d.object, d.content = o, v
}

// validate returns what an API server would refuse about a new object.
func (s *crdSchema) validate(v map[string]any) field.ErrorList {
	errs := validation.ValidateCustomResource(nil, v, s.openAPI)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s.structural, v)...)
	if s.rules == nil || blocking(errs) {
		return errs
	}
	broken, _ := s.rules.Validate(context.Background(), nil, s.structural, v, nil, celconfig.RuntimeCELCostBudget)
	return append(errs, broken...)
}

// validateChange returns what an API server would refuse about the change of a
// valid object into another.
func (s *crdSchema) validateChange(v, old map[string]any) field.ErrorList {
	if s.rules == nil {
		return nil
	}
	errs, _ := s.rules.Validate(context.Background(), nil, s.structural, v, old, celconfig.RuntimeCELCostBudget)
	return errs
}

// blocking reports errors that make CEL rules meaningless: they may look at fields
// of the wrong type.
func blocking(errs field.ErrorList) bool {
	for _, e := range errs {
		switch e.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		}
	}
	return false
}

// unhonoured returns the paths below spec that the schema does not name. They stay
// in v.
func (s *crdSchema) unhonoured(v map[string]any) []string {
	var out []string
	track := structural.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(runtime.DeepCopyJSON(v), s.typed, true, track) {
		if strings.HasPrefix(path, "spec.") {
			out = append(out, path)
		}
	}
	// The schema names targetSelectors for its rules, but nothing acts on them.
	if spec, _ := v["spec"].(map[string]any); spec["targetSelectors"] != nil {
		out = append(out, "spec.targetSelectors")
	}
	return out
}

// siblings returns the names of the fields that may stand where path's last one
// does.
func (s *crdSchema) siblings(path string) []string {
	at := s.structural
	parts := splitField(path)
	for _, part := range parts[:max(0, len(parts)-1)] {
		switch next, ok := at.Properties[part]; {
		case ok:
			at = &next
		case at.Items != nil:
			at = at.Items
		case at.AdditionalProperties != nil && at.AdditionalProperties.Structural != nil:
			at = at.AdditionalProperties.Structural
		default:
			return nil
		}
	}
	names := make([]string, 0, len(at.Properties))
	for name := range at.Properties {
		names = append(names, name)
	}
	return names
}

// reportFields reports errors of validation, in a stable order: that of a schema's
// validator is not.
func (d *document) reportFields(errs field.ErrorList) {
	slices.SortStableFunc(errs, func(a, b *field.Error) int {
		return cmp.Or(cmp.Compare(a.Field, b.Field), cmp.Compare(a.Type, b.Type), cmp.Compare(a.Detail, b.Detail))
	})
	for _, e := range errs {
		x := explain(d.kind, e)
		d.report(translate.Error, x.field, x.message, x.remedy)
	}
}
