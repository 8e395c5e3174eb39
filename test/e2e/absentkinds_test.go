package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// absentKinds takes the CRDs that many clusters do not have away from under
// Crossfade, starts it without them, and gives them back: nothing of that
// disturbs what does not use them.
func absentKinds(t *testing.T) {
	p, base := newChat(t)
	l := startLoad(t, base, 4, ask("chat"))
	p.apply(legacy)
	q := ask("declared")
	q.host = "legacy.example"
	p.answers(base, q)

	optional := optionalKinds(t)
	kubectl(t, append([]string{"delete", "crd"}, optional...)...)
	p.status(base, "legacy.example", "/v1/models", 500)
	p.says("httproute/legacy", "ResolvedRefs=False")
	p.follows(l, 90, 10)

	// A cluster that never had them.
	kubectl(t, "rollout", "restart", "-n", system, "deployment/crossfade-controller")
	rolledOut(t, system, "crossfade-controller")
	p.kubectl("rollout", "restart", "deployment/gw-crossfade")
	rolledOut(t, p.namespace, "gw-crossfade")
	p.weigh(50, 50)
	p.follows(l, 50, 50)
	p.says("httproute/chat", "Accepted=True", "ResolvedRefs=True")
	pods := p.pods("gw-crossfade")

	kubectl(t, "apply", "-k", file("deploy", "take-over-envoy-gateway"))
	kubectl(t, append([]string{"wait", "--for=condition=Established", "crd", "--timeout=60s"}, optional...)...)
	p.apply(legacy)
	p.says("inferencemodel/declared", "Accepted=True")
	p.says("httproute/legacy", "Accepted=True", "ResolvedRefs=True")
	p.answers(base, q)
	for pod := range p.pods("gw-crossfade") {
		if !pods[pod] && !strings.Contains(p.get("pod/"+pod, "{.metadata.deletionTimestamp}"), "T") {
			t.Errorf("%s of the data plane is new: kinds are to be picked up without", pod)
		}
	}
	l.stop()
}

// optionalKinds are the CRDs of the kinds that x-k8s.io, llm-d and Envoy Gateway
// define.
func optionalKinds(t testing.TB) []string {
	t.Helper()
	var names []string
	for _, pattern := range []string{"inference/inference.networking.x-k8s.io_*.yaml", "inference/llm-d.ai_*.yaml", "envoy-gateway/gateway.envoyproxy.io_*.yaml"} {
		files, err := filepath.Glob(file("deploy", "helm", "crossfade", "crds", pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no CRDs like %s: %v", pattern, err)
		}
		for _, f := range files {
			group, plural, _ := strings.Cut(strings.TrimSuffix(filepath.Base(f), ".yaml"), "_")
			names = append(names, plural+"."+group)
		}
	}
	return names
}

const legacy = `
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferencePool
metadata: {name: legacy}
spec:
  selector: {app: one}
  targetPortNumber: 8000
  extensionRef: {name: not-installed}
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: declared}
spec:
  modelName: declared
  poolRef: {name: legacy}
  targetModels: [{name: chat}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: legacy}
spec:
  hostnames: [legacy.example]
  parentRefs: [{name: gw}]
  rules:
  - backendRefs: [{group: inference.networking.x-k8s.io, kind: InferencePool, name: legacy}]
`
