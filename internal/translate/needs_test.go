package translate

import (
	"fmt"
	"testing"
)

const needing = `
apiVersion: v1
kind: Namespace
metadata: {name: friend, labels: {team: a}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra}
spec:
  gatewayClassName: crossfade
  allowedListeners: {namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: a}}}}}]
`

// attached is what somebody in a namespace may attach to the Gateway.
const attached = `
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: set, namespace: %[1]s}
spec:
  parentRef: {name: edge, namespace: infra}
  listeners: [{name: https, port: 443, protocol: HTTPS, allowedRoutes: {namespaces: {from: All}}, tls: {certificateRefs: [{name: cert}]}}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: route, namespace: %[1]s}
spec: {parentRefs: [{name: edge, namespace: infra}], rules: [{backendRefs: [{name: api, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: policy, namespace: %[1]s}
spec: {targetRefs: [{group: "", kind: Service, name: api}], validation: {hostname: api, caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]}}
`

// What a Gateway does not take makes its data plane read nothing.
func TestNeedsOfWhatAGatewayTakes(t *testing.T) {
	in := &Resources{}
	decode(t, in, "stranger", fmt.Appendf(nil, needing+"---"+attached, "stranger"))
	if got := NewNeeds(in).Of(in.Gateways[0]); len(got) != 0 {
		t.Errorf("for strangers it reads %v", got)
	}
	in = &Resources{}
	decode(t, in, "friend", fmt.Appendf(nil, needing+"---"+attached, "friend"))
	if got := fmt.Sprint(NewNeeds(in).Of(in.Gateways[0])); got != "[ConfigMap friend/ca Secret friend/cert]" {
		t.Errorf("for friends it reads %s", got)
	}
}
