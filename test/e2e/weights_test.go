package e2e

import "testing"

// weights moves traffic from one version to the other in three edits, while
// people stream.
func weights(t *testing.T) {
	p, base := newChat(t)
	l := startLoad(t, base, 12, stream("chat", 40), ask("chat"))

	p.follows(l, 90, 10)
	p.weigh(50, 50)
	p.follows(l, 50, 50)
	p.weigh(0, 100)
	p.follows(l, 0, 100)
	p.weigh(100, 0)
	p.follows(l, 100, 0)

	l.stop()
}
