package kube

import (
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/translate"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

// fields reads YAML as an API server's JSON is read.
func fields(t testing.TB, text string) map[string]any {
	t.Helper()
	body, err := yaml.YAMLToJSON([]byte("kind: X\napiVersion: v1\nstatus:\n  " + strings.ReplaceAll(strings.TrimSpace(text), "\n", "\n  ")))
	if err != nil {
		t.Fatal(err)
	}
	var o unstructured.Unstructured
	if err := o.UnmarshalJSON(body); err != nil {
		t.Fatal(err)
	}
	status, _ := o.Object["status"].(map[string]any)
	return status
}

var testNow = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func condition(kind string, status metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, ObservedGeneration: 3}
}

func gatewayRef(name string) translate.ObjectRef {
	return translate.ObjectRef{Group: gwv1.GroupName, Kind: "Gateway", Namespace: "infra", Name: name}
}

func TestPatch(t *testing.T) {
	const ours = "crossfade.dev/gateway"
	accepted := condition("Accepted", metav1.ConditionTrue, "Accepted")
	const written = "{type: Accepted, status: 'True', reason: Accepted, message: '', observedGeneration: 3, lastTransitionTime: '2026-01-02T03:04:05Z'}"
	const earlier = "{type: Accepted, status: 'True', reason: Accepted, message: '', observedGeneration: 3, lastTransitionTime: '2025-01-01T00:00:00Z'}"
	const edge = "{group: gateway.networking.k8s.io, kind: Gateway, namespace: infra, name: edge}"
	const theirs = "{controllerName: example.com/x, parentRef: {name: edge, namespace: infra}, conditions: [], extra: 1}"
	parent := func(section string) translate.ParentStatus {
		return translate.ParentStatus{Parent: gatewayRef("edge"), Controller: ours, Section: section, Conditions: []metav1.Condition{accepted}}
	}
	route := translate.ObjectRef{Group: gwv1.GroupName, Kind: "HTTPRoute", Namespace: "chat", Name: "r"}
	pool := translate.ObjectRef{Group: poolKind.Group, Kind: "InferencePool", Namespace: "chat", Name: "p"}
	legacy := translate.ObjectRef{Group: legacyPoolKind.Group, Kind: "InferencePool", Namespace: "chat", Name: "p"}
	model := translate.ObjectRef{Group: legacyPoolKind.Group, Kind: "InferenceModel", Namespace: "chat", Name: "m"}
	policy := translate.ObjectRef{Group: "gateway.envoyproxy.io", Kind: "ClientTrafficPolicy", Namespace: "infra", Name: "c"}

	ipAddress := gwv1.IPAddressType
	gateway := &translate.Status{
		Conditions: []metav1.Condition{accepted},
		Addresses:  []gwv1.GatewayStatusAddress{{Type: &ipAddress, Value: "10.0.0.1"}},
		Listeners: []translate.ListenerStatus{{Name: "http", AttachedRoutes: 2, SupportedKinds: []gwv1.RouteGroupKind{{Kind: "HTTPRoute"}},
			Conditions: []metav1.Condition{accepted}}},
	}
	parentsOf := func(p ...translate.ParentStatus) *translate.Status { return &translate.Status{Parents: p} }

	for _, c := range []struct {
		name string
		ref  translate.ObjectRef
		live string
		want *translate.Status
		diff string // "" for nothing to write
	}{
		{"a new entry beside another's", route, "parents: [" + theirs + "]", parentsOf(parent("")),
			"parents: [" + theirs + ", {parentRef: " + edge + ", controllerName: crossfade.dev/gateway, conditions: [" + written + "]}]"},
		{"nothing changed", route, "parents: [{parentRef: " + edge + ", controllerName: crossfade.dev/gateway, conditions: [" + earlier + "]}, " + theirs + "]", parentsOf(parent("")), ""},
		{"sections are different parents", route, "parents: [{parentRef: " + edge + ", controllerName: crossfade.dev/gateway, conditions: [" + earlier + "]}]", parentsOf(parent("a")),
			"parents: [{parentRef: {group: gateway.networking.k8s.io, kind: Gateway, namespace: infra, name: edge, sectionName: a}, controllerName: crossfade.dev/gateway, conditions: [" + written + "]}]"},
		{"an unchanged status keeps its time", route, "parents: [{parentRef: " + edge + ", controllerName: crossfade.dev/gateway, conditions: [{type: Accepted, status: 'True', reason: Old, message: x, lastTransitionTime: '2025-01-01T00:00:00Z'}]}]", parentsOf(parent("")),
			"parents: [{parentRef: " + edge + ", controllerName: crossfade.dev/gateway, conditions: [" + earlier + "]}]"},
		{"a flipped status gets a new time", route, "parents: [{parentRef: " + edge + ", controllerName: crossfade.dev/gateway, conditions: [{type: Accepted, status: 'False', reason: Old, message: x, lastTransitionTime: '2025-01-01T00:00:00Z'}]}]", parentsOf(parent("")),
			"parents: [{parentRef: " + edge + ", controllerName: crossfade.dev/gateway, conditions: [" + written + "]}]"},
		{"a route that left us", route, "parents: [" + theirs + ", {parentRef: " + edge + ", controllerName: crossfade.dev/gateway, conditions: [" + earlier + "]}]", nil, "parents: [" + theirs + "]"},
		{"a route that never was ours", route, "parents: [" + theirs + "]", nil, ""},

		{"a pool", pool, "{}", parentsOf(parent("")), "parents: [{parentRef: " + edge + ", controllerName: crossfade.dev/gateway, conditions: [" + written + "]}]"},
		{"a pool that no route leads to any longer", pool, "parents: [{parentRef: " + edge + ", controllerName: crossfade.dev/gateway, conditions: [" + earlier + "]}]", parentsOf(), "parents: []"},
		{"a pool whose API has no controllerName", pool, "parents: [{parentRef: " + edge + ", conditions: [" + earlier + "]}]", parentsOf(), "parents: []"},

		{"an old pool's placeholder goes", legacy, "parent: [{parentRef: {kind: Status, name: default}, conditions: []}]", parentsOf(parent("")), "parent: [{parentRef: " + edge + ", conditions: [" + written + "]}]"},
		{"and comes back", legacy, "parent: [{parentRef: " + edge + ", conditions: [" + earlier + "]}]", parentsOf(),
			"parent: [{parentRef: {kind: Status, name: default}, conditions: [{type: Accepted, status: Unknown, reason: Pending, message: Waiting for controller, lastTransitionTime: '1970-01-01T00:00:00Z'}]}]"},
		{"an old pool of another's Gateway", legacy, "parent: [{parentRef: {name: foreign, namespace: infra}, conditions: [" + earlier + "]}]", parentsOf(), ""},
		{"an old pool without any", legacy, "{}", parentsOf(), ""},

		{"a model keeps the condition its CRD starts with", model, "conditions: [{type: Ready, status: Unknown, reason: Pending, message: w, lastTransitionTime: '1970-01-01T00:00:00Z'}]", &translate.Status{Conditions: []metav1.Condition{accepted}},
			"conditions: [{type: Ready, status: Unknown, reason: Pending, message: w, lastTransitionTime: '1970-01-01T00:00:00Z'}, " + written + "]"},
		{"another order is no change", model, "conditions: [" + earlier + ", {type: Ready, status: Unknown, reason: Pending, message: w, lastTransitionTime: '1970-01-01T00:00:00Z'}]", &translate.Status{Conditions: []metav1.Condition{accepted}}, ""},

		{"a policy", policy, "ancestors: [{ancestorRef: {name: a}, controllerName: example.com/x}, {ancestorRef: {name: old, namespace: infra}, controllerName: crossfade.dev/gateway}]", parentsOf(parent("")),
			"ancestors: [{ancestorRef: {name: a}, controllerName: example.com/x}, {ancestorRef: " + edge + ", controllerName: crossfade.dev/gateway, conditions: [" + written + "]}]"},

		{"a Gateway", gatewayRef("edge"), "conditions: [{type: Accepted, status: Unknown, reason: Pending, message: w, lastTransitionTime: '1970-01-01T00:00:00Z'}]", gateway,
			"{conditions: [" + written + "], addresses: [{type: IPAddress, value: 10.0.0.1}], listeners: [{name: http, attachedRoutes: 2, supportedKinds: [{group: gateway.networking.k8s.io, kind: HTTPRoute}], conditions: [" + written + "]}]}"},
		{"a Gateway whose routes changed", gatewayRef("edge"), "{conditions: [" + earlier + "], addresses: [{type: IPAddress, value: 10.0.0.1}], listeners: [{name: http, attachedRoutes: 1, supportedKinds: [{group: gateway.networking.k8s.io, kind: HTTPRoute}], conditions: [" + earlier + "]}]}", gateway,
			"listeners: [{name: http, attachedRoutes: 2, supportedKinds: [{group: gateway.networking.k8s.io, kind: HTTPRoute}], conditions: [" + earlier + "]}]"},
		{"a Gateway that lost its address", gatewayRef("edge"), "{conditions: [" + earlier + "], addresses: [{type: IPAddress, value: 10.0.0.1}]}", &translate.Status{Conditions: []metav1.Condition{accepted}}, "addresses: []"},
		{"a Gateway of another class", gatewayRef("edge"), "conditions: [" + earlier + "]", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := verdicts{
				now:      testNow,
				ours:     func(name string) bool { return name == ours },
				mayServe: func(r translate.ObjectRef) bool { return r.Name != "foreign" },
			}
			var want map[string]any
			if c.diff != "" {
				want = fields(t, c.diff)
			}
			live := fields(t, c.live)
			if d := cmp.Diff(want, v.patch(c.ref, live, c.want)); d != "" {
				t.Error(d)
			}
			for key, value := range want {
				live[key] = value
			}
			if again := v.patch(c.ref, live, c.want); again != nil {
				t.Errorf("written once more: %v", again)
			}
		})
	}
}

func TestEntriesStayWithinTheLimit(t *testing.T) {
	var old []any
	for range 16 {
		old = append(old, map[string]any{"controllerName": "example.com/x", "ancestorRef": map[string]any{"name": "a"}})
	}
	ref := translate.ObjectRef{Group: "gateway.envoyproxy.io", Kind: "ClientTrafficPolicy", Namespace: "infra", Name: "c"}
	v := verdicts{now: testNow, ours: func(string) bool { return false }}
	if p := v.patch(ref, map[string]any{"ancestors": old}, &translate.Status{Parents: []translate.ParentStatus{{Parent: gatewayRef("edge"), Controller: "crossfade.dev/gateway"}}}); p != nil {
		t.Errorf("a full list of others grew: %v", p)
	}
}
