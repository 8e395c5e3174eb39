package e2e

import (
	"strings"
	"testing"
)

// parameters shape the data plane; how many replicas it has is left to whoever
// scales it unless they say.
func parameters(t *testing.T) {
	p := newPlace(t)
	p.apply(shaped)
	p.gateway("gw")
	const deployment, service = "deployment/gw-crossfade", "service/gw-crossfade"

	t.Run("applied", func(t *testing.T) {
		p := p.in(t)
		p.becomes(deployment, "{.spec.replicas}", "1")
		p.becomes(service, "{.spec.type}", "ClusterIP")
		p.becomes(service, `{.metadata.annotations.example\.com/only-service}`, "yes")
		for _, object := range []string{deployment, service, "serviceaccount/gw-crossfade"} {
			p.becomes(object, `{.metadata.labels.team}/{.metadata.annotations.example\.com/cost}`, "serving/shared")
		}
		p.becomes(deployment, `{.spec.template.metadata.labels.team}`, "serving")
		p.becomes(deployment, `{.spec.template.spec.containers[0].resources.requests.memory}`, "64Mi")
		if args := p.get(deployment, "{.spec.template.spec.containers[0].args}"); !strings.Contains(args, "--access-log=1") {
			t.Errorf("arguments of the data plane: %s", args)
		}
		p.becomes("gateway/gw", "{.status.addresses[0].value}", p.get(service, "{.spec.clusterIP}"))
	})
	t.Run("changed", func(t *testing.T) {
		p := p.in(t)
		p.kubectl("patch", "gatewayparameters/small", "--type=merge", "-p", `{"spec": {"replicas": 3, "service": {"type": "LoadBalancer"}}}`)
		p.becomes(service, "{.spec.type}", "LoadBalancer")
		p.becomes(deployment, "{.status.readyReplicas}", "3")
		p.becomes("gateway/gw", "{.status.addresses[0].value}", p.balancer("gw-crossfade"))
	})
	t.Run("missing", func(t *testing.T) {
		p := p.in(t)
		p.kubectl("delete", "gatewayparameters/small")
		p.says("gateway/gw", "Accepted=False/InvalidParameters")
		p.becomes(deployment, "{.status.readyReplicas}", "3") // a mistake takes nothing down
		p.apply(shaped)
		p.becomes(deployment, "{.spec.replicas}", "1")
		p.says("gateway/gw", "Accepted=True", "Programmed=True")
	})
	t.Run("scaled by others", func(t *testing.T) { p.in(t).scaledByOthers() })
}

func (p place) scaledByOthers() {
	p.apply(strings.ReplaceAll(extraGateway, "NAME", "free"))
	p.gateway("free")
	const deployment = "deployment/free-crossfade"
	p.becomes(deployment, "{.spec.replicas}", "2")
	// touched has the controller look at the Gateway's objects again.
	touched := func(port string) {
		p.t.Helper()
		p.kubectl("patch", "gateway/free", "--type=json", "-p", `[{"op": "add", "path": "/spec/listeners/-", "value": {"name": "l`+port+`", "port": `+port+`, "protocol": "HTTP"}}]`)
		p.becomes("service/free-crossfade", "{.spec.ports[?(@.port=="+port+")].port}", port)
		p.says("gateway/free", "Programmed=True")
	}
	touched("8081")
	p.becomes(deployment, "{.spec.replicas}", "2")

	p.kubectl("scale", deployment, "--replicas=4")
	rolledOut(p.t, p.namespace, "free-crossfade")
	touched("8082")
	p.becomes(deployment, "{.spec.replicas}", "4")

	// Without metrics an autoscaler does no more than keep to its bounds.
	p.kubectl("autoscale", deployment, "--min=5", "--max=6", "--cpu=80%")
	p.becomes(deployment, "{.spec.replicas}", "5")
	touched("8083")
	p.becomes(deployment, "{.spec.replicas}", "5")
}

// balancer waits for the load balancer's address of a Service.
func (p place) balancer(service string) string {
	p.t.Helper()
	var address string
	eventually(p.t, "an address of "+service, func() error {
		if address = p.get("service/"+service, "{.status.loadBalancer.ingress[0].ip}"); address == "" {
			return errNotYet
		}
		return nil
	})
	return address
}

const shaped = `
apiVersion: crossfade.dev/v1alpha1
kind: GatewayParameters
metadata: {name: small}
spec:
  replicas: 1
  resources: {requests: {cpu: 10m, memory: 64Mi}}
  args: [--access-log=1]
  service: {type: ClusterIP, annotations: {example.com/only-service: "yes"}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: crossfade
  infrastructure:
    labels: {team: serving}
    annotations: {example.com/cost: shared}
    parametersRef: {group: crossfade.dev, kind: GatewayParameters, name: small}
  listeners:
  - {name: http, port: 8080, protocol: HTTP}
`
