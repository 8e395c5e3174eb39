package e2e

import (
	"strings"
	"testing"
)

// twoGateways listen on one port of one cluster, each at an address of its own,
// and each serves what is attached to it.
func twoGateways(t *testing.T) {
	p, base := newChat(t)
	p.weigh(0, 100)
	p.apply(strings.ReplaceAll(extraGateway, "NAME", "other"))
	other := p.gateway("other")
	if base == other {
		t.Fatalf("both Gateways are at %s", base)
	}
	p.answers(other, ask("chat"))
	p.answersOnly(base, "two")
	p.answersOnly(other, "one")

	p.kubectl("delete", "gateway/other")
	gone(t, p.namespace, "service/other-crossfade", "deployment/other-crossfade")
	p.answersOnly(base, "two")
}

// answersOnly waits until one version answers, and then expects it always to.
func (p place) answersOnly(base, speaker string) {
	p.t.Helper()
	eventually(p.t, speaker+" answers", func() error {
		if p.answers(base, ask("chat")).speaker() != speaker {
			return errNotYet
		}
		return nil
	})
	// A change reaches one replica of the data plane a moment before the other.
	eventually(p.t, "only "+speaker+" answers", func() error {
		if n := count(p.t, base, ask("chat"), 20); n.speakers[speaker] != 20 {
			return errNotYet
		}
		return nil
	})
	if n := count(p.t, base, ask("chat"), 200); n.speakers[speaker] != 200 {
		p.t.Errorf("%s: %v, want only %s", base, n.speakers, speaker)
	}
}
