package e2e

import "testing"

// modelRollout replaces every pod of a model's Deployment under load. Pods have
// no preStop hook: the gateway has to find out by itself.
func modelRollout(t *testing.T) {
	p, base := newChat(t)
	p.weigh(100, 0)
	l := startLoad(t, base, 12, stream("chat", 40), stream("chat", 400), ask("chat"))
	p.follows(l, 100, 0)

	for range 2 {
		p.kubectl("rollout", "restart", "deployment/one")
		rolledOut(t, p.namespace, "one")
		l.measure(200)
	}
	p.kubectl("scale", "deployment/one", "--replicas=1")
	rolledOut(t, p.namespace, "one")
	l.measure(200)

	l.stop()
}
