package extproc

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"crossfade.dev/internal/routing"
)

// The names of the endpoint picker protocol (proposal 004).
const (
	destinationField  = "X-Gateway-Destination-Endpoint"
	destinationKey    = "x-gateway-destination-endpoint"
	destinationSpace  = "envoy.lb"
	servedKey         = "x-gateway-destination-endpoint-served"
	subsetSpace       = "envoy.lb.subset_hint"
	subsetKey         = "x-gateway-destination-endpoint-subset"
	maxDestinations   = 64
	maxDestinationLen = 8 << 10 // bytes of a list
)

// sameDestinations reports whether two lists say the same, spaces aside.
func sameDestinations(a, b string) bool {
	return a == b || slices.Equal(splitDestinations(a), splitDestinations(b))
}

func splitDestinations(list string) []string {
	var out []string
	for s := range strings.SplitSeq(list, ",") {
		if s = strings.TrimSpace(s); s != "" && len(out) < maxDestinations {
			out = append(out, s)
		}
	}
	return out
}

// destinations returns the addresses of list that are of the pool, in the order of
// the list and each once. An address without a port stands for all of the pool's
// endpoints there. It is an error that none is of the pool: its picker chose for
// some other.
func destinations(list string, pool []routing.Endpoint) ([]string, error) {
	if len(list) > maxDestinationLen {
		return nil, fmt.Errorf("its list of endpoints is longer than %d bytes", maxDestinationLen)
	}
	var out []string
	add := func(address string) {
		if len(out) < maxDestinations && !slices.Contains(out, address) {
			out = append(out, address)
		}
	}
	for _, s := range splitDestinations(list) {
		if address, ok := find(pool, s); ok {
			add(address)
			continue
		}
		ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
		if err != nil {
			continue
		}
		for i := range pool {
			if at, err := netip.ParseAddrPort(pool[i].Address); err == nil && at.Addr() == ip {
				add(pool[i].Address)
			}
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("it chose %.200q, none of which is a ready endpoint of the pool", list)
	}
	return out, nil
}

// find looks an address up, as written and in its usual form.
func find(pool []routing.Endpoint, address string) (string, bool) {
	if at, ok := search(pool, address); ok {
		return at, true
	}
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return "", false
	}
	return search(pool, net.JoinHostPort(a.Addr().String(), fmt.Sprint(a.Port())))
}

func search(pool []routing.Endpoint, address string) (string, bool) {
	i, ok := slices.BinarySearchFunc(pool, address, func(e routing.Endpoint, a string) int { return strings.Compare(e.Address, a) })
	if !ok {
		return "", false
	}
	return pool[i].Address, true
}
