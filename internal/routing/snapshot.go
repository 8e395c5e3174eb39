package routing

import (
	"crypto/tls"
	"strings"
)

// Snapshot is everything a gateway needs to route: built whole by translate,
// armed, then published by one pointer swap and never changed. A request loads
// it once and lives with that one to its end.
type Snapshot struct {
	Ports []*Port          // ascending by Number
	Pools map[string]*Pool // by Pool.ID, every pool that a backend uses
}

// Port is one TCP port the gateway listens on and the listeners that share it.
type Port struct {
	Number uint16
	TLS    bool
	// Listeners, most specific hostname first: exact, then longest wildcard,
	// then none.
	Listeners []*Listener
}

// Listener is one listener of one Gateway, with the routes attached to it.
type Listener struct {
	Gateway  string // namespace/name
	Name     string
	Hostname string // "", "example.com" or "*.example.com", lower case
	// Certificates of an HTTPS listener, chosen by SNI; empty otherwise.
	Certificates []tls.Certificate
	// Clients says what clients' certificates must be; nil: none is asked for.
	Clients *ClientCheck
	// Identity is shown to endpoints over TLS; nil: nothing is.
	Identity *Identity
	// MaxBodyBytes is the largest request body that is buffered; 0 means the
	// gateway's default. MaxBodySource says, for the client, who set it.
	MaxBodyBytes  int64
	MaxBodySource string

	hosts    map[string]*routeTable // by exact hostname, "*.suffix" or ""
	suffixes map[string]*routeTable // those of "*.suffix", by suffix
}

// Port returns the port with the given number, or nil.
func (s *Snapshot) Port(number uint16) *Port {
	for _, p := range s.Ports {
		if p.Number == number {
			return p
		}
	}
	return nil
}

// Listener returns the listener of the port whose hostname fits host best, or
// nil. host may carry a port and any letter case.
func (s *Snapshot) Listener(port uint16, host string) *Listener {
	p := s.Port(port)
	if p == nil {
		return nil
	}
	return p.Listener(host)
}

// Listener returns the port's listener whose hostname fits host best, or nil.
func (p *Port) Listener(host string) *Listener {
	if len(p.Listeners) == 1 && p.Listeners[0].Hostname == "" {
		return p.Listeners[0]
	}
	host = CanonicalHost(host)
	for _, l := range p.Listeners {
		if HostMatches(l.Hostname, host) {
			return l
		}
	}
	return nil
}

// CanonicalHost lowers a Host header or SNI name and strips its port and a
// trailing dot. It allocates only when there is something to change.
func CanonicalHost(host string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		host = host[:i]
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// HostMatches reports whether pattern ("", an exact name or "*.suffix") covers
// the canonical host. A wildcard covers one or more labels (Gateway API).
func HostMatches(pattern, host string) bool {
	if pattern == "" || pattern == host {
		return true
	}
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		return len(host) > len(suffix) && strings.HasSuffix(host, suffix)
	}
	return false
}

// HostIntersection returns the hostname both patterns cover, the narrower of the
// two, and false when they cover none in common (Gateway API, HTTPRoute
// hostnames).
func HostIntersection(a, b string) (string, bool) {
	switch {
	case a == "" || a == b:
		return b, true
	case b == "":
		return a, true
	case HostMatches(a, strings.TrimPrefix(b, "*")) && strings.HasPrefix(a, "*") && (!strings.HasPrefix(b, "*") || len(b) >= len(a)):
		return b, true
	case HostMatches(b, strings.TrimPrefix(a, "*")) && strings.HasPrefix(b, "*") && (!strings.HasPrefix(a, "*") || len(a) >= len(b)):
		return a, true
	}
	return "", false
}

// CompareHosts orders hostnames from most to least specific: exact names first,
// longer before shorter, "" last; equal specificity by name.
func CompareHosts(a, b string) int {
	if d := hostRank(b) - hostRank(a); d != 0 {
		return d
	}
	return strings.Compare(a, b)
}

func hostRank(h string) int {
	switch {
	case h == "":
		return 0
	case strings.HasPrefix(h, "*"):
		return len(h)
	default:
		return 1<<16 + len(h)
	}
}

// eachSplit calls f with every split of the snapshot.
func (s *Snapshot) eachSplit(f func(*Split)) {
	for _, p := range s.Ports {
		for _, l := range p.Listeners {
			l.EachRoute(func(r *Route) { r.Rule.eachSplit(f) })
		}
	}
	for _, p := range s.Pools {
		p.eachSplit(f)
	}
}
