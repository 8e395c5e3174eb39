package translate

import (
	"slices"
	"testing"

	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// TestSupportedFeatures wants names that Gateway API knows, sorted, with all of the
// core.
func TestSupportedFeatures(t *testing.T) {
	names := SupportedFeatures()
	if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Error("the names are not sorted, or not unique")
	}
	known := features.SetsToNamesSet(features.AllFeatures)
	for _, n := range names {
		if !known.Has(features.FeatureName(n)) {
			t.Errorf("Gateway API knows no feature %s", n)
		}
	}
	for _, core := range []features.Feature{features.GatewayFeature, features.HTTPRouteFeature, features.ReferenceGrantFeature} {
		if !slices.Contains(names, gwv1.FeatureName(core.Name)) {
			t.Errorf("%s, which is core, is missing", core.Name)
		}
	}
}
