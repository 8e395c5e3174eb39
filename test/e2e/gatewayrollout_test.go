package e2e

import (
	"fmt"
	"testing"
)

// gatewayRollout replaces every pod of the data plane under load, while some
// streams last longer than the whole of it.
func gatewayRollout(t *testing.T) {
	p, base := newChat(t, "slow.yaml")
	rolledOut(t, p.namespace, "slow")
	p.says("httproute/slow", "Accepted=True", "ResolvedRefs=True")
	l := startLoad(t, base, 12, stream("chat", 40), ask("chat"))
	l.until(100)

	before := p.pods("gw-crossfade")
	long := startStreams(t, base, 8, 800)
	p.kubectl("rollout", "restart", "deployment/gw-crossfade")
	rolledOut(t, p.namespace, "gw-crossfade")
	l.measure(200)
	if long.ended() > 0 {
		t.Errorf("%d streams ended before the rollout did: they prove nothing", long.ended())
	}
	p.follows(l, 90, 10)

	long.wait()
	eventually(t, "the old pods go once their streams are over", func() error {
		for pod := range p.pods("gw-crossfade") {
			if before[pod] {
				return fmt.Errorf("%s is there", pod)
			}
		}
		return nil
	})
	l.stop()
}
