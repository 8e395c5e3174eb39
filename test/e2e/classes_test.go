package e2e

import (
	"testing"
)

// classes of others are left as they are, and those of Envoy Gateway as well
// unless Crossfade was installed to take them over.
func classes(t *testing.T) {
	p := newPlace(t)
	class := func(name, controller string) {
		t.Helper()
		apply(t, "", `{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: `+name+`}, spec: {controllerName: `+controller+`}}`)
		t.Cleanup(func() { kubectl(t, "delete", "gatewayclass", name, "--ignore-not-found") })
	}
	gateway := func(name, class string) {
		t.Helper()
		p.apply(`{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: ` + name + `}, spec: {gatewayClassName: ` + class + `, listeners: [{name: http, port: 8080, protocol: HTTP}]}}`)
	}
	// untouched checks that an object is as it was, after something of ours that
	// came later was seen to.
	untouched := func(namespace, object, version string) {
		t.Helper()
		if now := jsonpath(t, namespace, object, "{.metadata.resourceVersion}"); now != version {
			t.Errorf("%s was changed: %s", object, kubectl(t, "get", "-n", namespace, object, "-o", "yaml"))
		}
	}
	const version = "{.metadata.resourceVersion}"

	class("another", "example.com/controller")
	gateway("another", "another")
	classVersion, gatewayVersion := jsonpath(t, "", "gatewayclass/another", version), p.get("gateway/another", version)
	class("envoy", "gateway.envoyproxy.io/gatewayclass-controller")
	gateway("envoy", "envoy")
	says(t, "", "gatewayclass/envoy", "Accepted=True")
	p.gateway("envoy")
	untouched("", "gatewayclass/another", classVersion)
	untouched(p.namespace, "gateway/another", gatewayVersion)
	if there, err := exists(p.namespace, "deployment/another-another"); err != nil || there {
		t.Errorf("a data plane was made for another controller's Gateway (error %v)", err)
	}

	kubectl(t, "apply", "-k", file("deploy"))
	t.Cleanup(func() { kubectl(t, "apply", "-k", file("deploy", "take-over-envoy-gateway")) })
	rolledOut(t, system, "crossfade-controller")
	class("envoy-later", "gateway.envoyproxy.io/gatewayclass-controller")
	later := jsonpath(t, "", "gatewayclass/envoy-later", version)
	class("ours-later", "crossfade.dev/gateway-controller")
	says(t, "", "gatewayclass/ours-later", "Accepted=True")
	untouched("", "gatewayclass/envoy-later", later)

	kubectl(t, "apply", "-k", file("deploy", "take-over-envoy-gateway"))
	rolledOut(t, system, "crossfade-controller")
	says(t, "", "gatewayclass/envoy-later", "Accepted=True")
	untouched("", "gatewayclass/another", classVersion)
	untouched(p.namespace, "gateway/another", gatewayVersion)
}
