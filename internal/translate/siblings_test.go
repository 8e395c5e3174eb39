package translate

import (
	"net/netip"
	"slices"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func TestSiblings(t *testing.T) {
	gateway := &gwv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "edge"},
		Spec:       gwv1.GatewaySpec{GatewayClassName: "crossfade"},
	}
	slice := func(namespace, service string, family discoveryv1.AddressType, addresses ...string) *discoveryv1.EndpointSlice {
		s := &discoveryv1.EndpointSlice{
			ObjectMeta:  metav1.ObjectMeta{Namespace: namespace, Labels: map[string]string{discoveryv1.LabelServiceName: service}},
			AddressType: family,
		}
		no := false
		for _, a := range addresses {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}, Conditions: discoveryv1.EndpointConditions{Ready: &no}})
		}
		return s
	}
	r := &Resources{EndpointSlices: []*discoveryv1.EndpointSlice{
		slice("infra", "edge-crossfade", discoveryv1.AddressTypeIPv6, "fd00::1", "fd00::2"),
		slice("infra", "edge-crossfade", discoveryv1.AddressTypeIPv4, "10.0.0.3", "10.0.0.1"),
		slice("infra", "edge-crossfade", discoveryv1.AddressTypeIPv4, "10.0.0.2", "10.0.0.3", "no address"),
		slice("infra", "other-crossfade", discoveryv1.AddressTypeIPv4, "10.0.0.8"),
		slice("chat", "edge-crossfade", discoveryv1.AddressTypeIPv4, "10.0.0.9"),
		slice("infra", "edge-crossfade", discoveryv1.AddressTypeFQDN, "example.com"),
	}}
	for _, c := range []struct {
		name      string
		own, want []string
	}{
		{"one of the pods", []string{"127.0.0.1", "10.0.0.1"}, []string{"10.0.0.2", "10.0.0.3"}},
		{"with both families", []string{"fd00::1", "10.0.0.1"}, []string{"10.0.0.2", "10.0.0.3"}},
		{"with IPv6 alone", []string{"fd00::2"}, []string{"fd00::1"}},
		{"no pod of the data plane", []string{"10.0.0.9"}, nil},
		{"nowhere", nil, nil},
	} {
		got := Siblings(r, gateway, parseAll(c.own))
		if !slices.Equal(got, parseAll(c.want)) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func parseAll(texts []string) []netip.Addr {
	var out []netip.Addr
	for _, s := range texts {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}
