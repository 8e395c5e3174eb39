package app

import (
	"net"
	"net/netip"
	"strconv"
)

// ownAddresses are this machine's, or pod's, but for those that every machine has.
func ownAddresses() []netip.Addr {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil // it will not know itself among the pods, and tell nobody anything
	}
	var out []netip.Addr
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().IsGlobalUnicast() {
			out = append(out, p.Addr().Unmap())
		}
	}
	return out
}

// meet makes the other pods of the data plane those that are told, and heard. Their
// admin ports have the number of ours.
func (p *plane) meet(pods []netip.Addr) {
	if p.gossip == nil {
		return
	}
	_, text, _ := net.SplitHostPort(p.cfg.Admin)
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil || port == 0 {
		return // it cannot be known where theirs are
	}
	at := make([]netip.AddrPort, 0, len(pods))
	for _, a := range pods {
		at = append(at, netip.AddrPortFrom(a, uint16(port)))
	}
	p.gossip.SetPeers(at)
}
