package loadbalancer

import (
	"net/netip"
	"strings"
	"testing"
)

// TestPool is one story: each line is a Take, or a Release without a want.
func TestPool(t *testing.T) {
	p := NewPool(netip.MustParsePrefix("10.250.0.0/29"))
	for _, step := range []struct{ owner, wants, has, gets string }{
		{"a", "", "", "10.250.0.1"},
		{"b", "", "", "10.250.0.2"},
		{"a", "", "10.250.0.1", "10.250.0.1"},     // keeps what it has
		{"c", "10.250.0.5", "", "10.250.0.5"},     // honoured
		{"d", "10.250.0.5", "", "belongs to c"},   // taken
		{"d", "192.0.2.7", "", "192.0.2.7"},       // outside the range
		{"e", "", "10.250.0.2", "10.250.0.3"},     // what it claims to have is b's
		{"f", "fe80::1", "", "want an IPv4"},      //
		{"f", "", "", "10.250.0.4"},               //
		{"g", "", "", "10.250.0.6"},               // 5 is c's
		{"h", "", "", "10.250.0.7"},               //
		{"i", "", "", "no load balancer address"}, //
		{"b", "10.250.0.2", "", "10.250.0.2"},     // its own
		{"b", "192.0.2.8", "", "192.0.2.8"},       // lets go of the old one
		{"i", "", "", "10.250.0.2"},               //
	} {
		addr, err := p.Take(step.owner, step.wants, step.has)
		got := addr.String()
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, step.gets) {
			t.Errorf("%s wants %q: %s, want %s", step.owner, step.wants, got, step.gets)
		}
	}
	p.Release("c")
	if addr, err := p.Take("j", "", ""); err != nil || addr.String() != "10.250.0.5" {
		t.Errorf("after a release: %s, error %v", addr, err)
	}
}
