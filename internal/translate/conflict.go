package translate

import (
	"fmt"

	"crossfade.dev/internal/routing"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// findIndistinct marks the listeners of one Gateway that a request cannot tell
// apart. All of them are refused: Gateway API forbids choosing a winner.
func (b *build) findIndistinct(g *gateway) {
	for i, l := range g.listeners {
		for _, m := range g.listeners[i+1:] {
			if l.accept.bad() || m.accept.bad() || l.port != m.port {
				continue
			}
			switch {
			case l.tls != m.tls:
				b.conflict(l, m, string(gwv1.ListenerReasonProtocolConflict))
				b.conflict(m, l, string(gwv1.ListenerReasonProtocolConflict))
			case l.hostname == m.hostname:
				b.conflict(l, m, string(gwv1.ListenerReasonHostnameConflict))
				b.conflict(m, l, string(gwv1.ListenerReasonHostnameConflict))
			case l.tls:
				if _, overlap := routing.HostIntersection(l.hostname, m.hostname); overlap {
					l.overlaps, m.overlaps = m.name, l.name
				}
			}
		}
	}
}

func (b *build) conflict(l, other *listener, reason string) {
	owner := "listener " + other.name
	if other.owner() != l.owner() {
		owner += " of " + other.owner().String()
	}
	message := fmt.Sprintf("port %d is already used by %s, with another protocol", l.port, owner)
	if reason == string(gwv1.ListenerReasonHostnameConflict) {
		message = fmt.Sprintf("port %d with the same hostname is already used by %s", l.port, owner)
	}
	b.reject(l, &l.conflict, reason, "", message, "give one of them another port or hostname")
}

// claim is a port of this machine and who listens on it for which hostname.
type claim struct {
	first *listener
	hosts map[string]*listener
}

// refuseConflicts merges the listeners of all Gateways onto the ports of one
// machine. Unlike within one Gateway the older Gateway keeps what it has: a
// stranger's new Gateway must not take it down.
//
// On a cluster Gateways share nothing, and findIndistinct has said it all.
func (b *build) refuseConflicts() {
	if b.opts.Cluster {
		b.programAll()
		return
	}
	claims := map[uint16]*claim{}
	for _, g := range b.gateways {
		for _, l := range g.allListeners() {
			if l.refused() || g.refused != "" {
				continue
			}
			c := claims[l.port]
			if c == nil {
				c = &claim{first: l, hosts: map[string]*listener{}}
				claims[l.port] = c
			}
			if c.first.tls != l.tls {
				b.conflict(l, c.first, string(gwv1.ListenerReasonProtocolConflict))
			} else if other := c.hosts[l.hostname]; other != nil {
				b.conflict(l, other, string(gwv1.ListenerReasonHostnameConflict))
			} else {
				c.hosts[l.hostname] = l
				l.program()
			}
		}
	}
}

// programAll programs every listener that is not refused.
func (b *build) programAll() {
	for _, g := range b.gateways {
		for _, l := range g.allListeners() {
			if !l.refused() && g.refused == "" {
				l.program()
			}
		}
	}
}

// program makes the listener part of the snapshot, unless it has nothing to show
// its clients: no certificate, or no kind of route.
func (l *listener) program() {
	l.programmed = len(l.kinds) > 0 && (!l.tls || len(l.certificates) > 0)
	l.routing = &routing.Listener{Gateway: l.gateway.ref.Namespace + "/" + l.gateway.ref.Name, Name: l.name,
		Hostname: l.hostname, Certificates: l.certificates}
}
