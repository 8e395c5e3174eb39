package e2e

import (
	"strings"
	"testing"
)

// controllerKilled kills the leading controller twice, each time just after a
// change, so that each of the two pods was the victim. The data plane has the
// change at once; the statuses and the objects follow when the other one leads.
func controllerKilled(t *testing.T) {
	p, base := newChat(t)
	l := startLoad(t, base, 4, ask("chat"))

	for i, to := range []struct{ one, two int }{{50, 50}, {0, 100}} {
		victim := leader(t)
		name := []string{"second", "third"}[i]
		p.weigh(to.one, to.two)
		p.apply(strings.ReplaceAll(extraGateway, "NAME", name))
		kubectl(t, "delete", "pod", "-n", system, victim, "--grace-period=0", "--force")

		p.follows(l, to.one, to.two)
		p.says("httproute/chat", "Accepted=True", "ResolvedRefs=True")
		p.answers(p.gateway(name), ask("chat"))
		if heir := leader(t); heir == victim {
			t.Errorf("%s leads, though it was killed", heir)
		}
		rolledOut(t, system, "crossfade-controller")
	}
	l.stop()
}

const extraGateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: NAME}
spec:
  gatewayClassName: crossfade
  listeners:
  - {name: http, port: 8080, protocol: HTTP}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: NAME}
spec:
  parentRefs: [{name: NAME}]
  rules:
  - backendRefs:
    - {group: inference.networking.k8s.io, kind: InferencePool, name: one}
`
