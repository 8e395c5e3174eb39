package kube

import (
	"strings"
	"testing"

	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

// resources reads objects of base kinds from YAML.
func resources(t testing.TB, text string) *translate.Resources {
	t.Helper()
	r := &translate.Resources{}
	for _, doc := range strings.Split(text, "\n---\n") {
		var head struct{ APIVersion, Kind string }
		if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
			t.Fatal(err)
		}
		group, _, named := strings.Cut(head.APIVersion, "/")
		if !named {
			group = ""
		}
		for _, k := range kinds {
			if k.group == group && k.name == head.Kind {
				o := k.new()
				if err := yaml.UnmarshalStrict([]byte(doc), o); err != nil {
					t.Fatal(err)
				}
				k.add(r, o)
			}
		}
	}
	return r
}

func (s scope) String() string {
	return strings.TrimRight(strings.Join([]string{s.Kind, s.namespace, s.name, s.labels}, " "), " ")
}

func TestDemand(t *testing.T) {
	const class = `{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: ours}, spec: {controllerName: crossfade.dev/gateway}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: theirs}, spec: {controllerName: example.com/gateway}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: a, namespace: infra}, spec: {gatewayClassName: ours, listeners: [{name: x, port: 1, protocol: HTTPS, tls: {certificateRefs: [{name: one}, {name: two, namespace: far}, {name: three, group: example.com, kind: Cert}]}}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: b, namespace: infra}, spec: {gatewayClassName: ours, listeners: [{name: x, port: 1, protocol: HTTPS, tls: {certificateRefs: [{name: four}]}}]}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: c, namespace: infra}, spec: {gatewayClassName: theirs, listeners: [{name: x, port: 1, protocol: HTTPS, tls: {certificateRefs: [{name: five}]}}]}}
---
`
	route := func(gateway, namespace, rule string) string {
		return `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r` + gateway + `, namespace: ` + namespace + `}, spec: {parentRefs: [{name: ` + gateway + `, namespace: infra}], rules: [` + rule + `]}}
---
`
	}
	pool := func(namespace, name, picker string) string {
		return `{apiVersion: inference.networking.k8s.io/v1, kind: InferencePool, metadata: {name: ` + name + `, namespace: ` + namespace + `}, spec: {selector: {matchLabels: {a: b}}, targetPorts: [{number: 1}]` + picker + `}}
---
`
	}
	toPool := func(namespace, name string) string {
		return `{backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: ` + name + `, namespace: ` + namespace + `}]}`
	}
	const siblings = "EndpointSlice infra  kubernetes.io/service-name=a-ours\n"
	gateway := role{only: types.NamespacedName{Namespace: "infra", Name: "a"}, controllers: []string{"crossfade.dev/gateway"}}
	controller := role{statuses: true, controllers: []string{"crossfade.dev/gateway"}}

	for _, c := range []struct {
		name, in string
		who      role
		want     string
	}{
		{"nothing", "", gateway, ""},
		{"the data planes", "", controller, "Deployment   app.kubernetes.io/managed-by=crossfade\nService   app.kubernetes.io/managed-by=crossfade"},
		{"certificates of the one Gateway", class, gateway, siblings + "Secret infra one"},
		{"certificates of all our Gateways", class, controller, "Deployment   app.kubernetes.io/managed-by=crossfade\nSecret infra four\nSecret infra one\nService   app.kubernetes.io/managed-by=crossfade"},
		{"a certificate that is granted", class + `{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: g, namespace: far}, spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: infra}], to: [{group: "", kind: Secret, name: two}]}}`,
			gateway, siblings + "Secret far two\nSecret infra one"},
		{"a certificate that another is granted", class + `{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: g, namespace: far}, spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: infra}], to: [{group: "", kind: Secret, name: two}]}}`,
			gateway, siblings + "Secret infra one"},
		{"Services of routes, mirrors included", class + route("a", "web", `{backendRefs: [{name: s, port: 1}, {name: t, namespace: web2, port: 1}], filters: [{type: RequestMirror, requestMirror: {backendRef: {name: m, namespace: mirror, port: 1}}}]}`),
			gateway, siblings + "EndpointSlice mirror\nEndpointSlice web\nEndpointSlice web2\nSecret infra one\nService mirror\nService web\nService web2"},
		{"routes to other Gateways do not count", class + route("b", "web", `{backendRefs: [{name: s, port: 1}]}`) + route("c", "web", `{backendRefs: [{name: s, port: 1}]}`),
			gateway, siblings + "Secret infra one"},
		{"pods of pools that a route names", class + pool("chat", "p", "") + pool("other", "q", "") + route("a", "web", toPool("chat", "p")),
			gateway, siblings + "Pod chat\nSecret infra one"},
		{"pods of all pools, for statuses", pool("chat", "p", "") + pool("other", "q", ", endpointPickerRef: {name: epp, port: {number: 9002}}"),
			controller, "Deployment   app.kubernetes.io/managed-by=crossfade\nEndpointSlice other\nPod chat\nPod other\nService   app.kubernetes.io/managed-by=crossfade\nService other"},
		{"the Gateway's own pods are among those of its namespace", class + route("a", "infra", `{backendRefs: [{name: s, port: 1}]}`),
			gateway, "EndpointSlice infra\nSecret infra one\nService infra"},
		{"a pool that does not exist", class + route("a", "web", toPool("chat", "p")), gateway, siblings + "Secret infra one"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, s := range demand(resources(t, c.in), c.who) {
				got = append(got, s.String())
			}
			if text := strings.Join(got, "\n"); text != c.want {
				t.Errorf("got\n%s\nwant\n%s", text, c.want)
			}
		})
	}
}
