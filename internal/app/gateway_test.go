package app

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// A data plane is not ready before it has seen its Gateway, and is from then on.
func TestGatewayIsReadyOnceItsGatewayIsKnown(t *testing.T) {
	cfg := Defaults()
	cfg.Admin, cfg.Drain = "127.0.0.1:0", time.Second
	g, err := NewGateway(cfg, types.NamespacedName{Namespace: "infra", Name: "edge"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := g.ready(); err == nil || !strings.Contains(err.Error(), "no configuration") {
		t.Errorf("before the first update: %v", err)
	}
	other := &gwv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "other"}}
	g.reconcile(t.Context(), source.Update{Resources: &translate.Resources{Gateways: []*gwv1.Gateway{other}}})
	if err := g.ready(); err == nil || !strings.Contains(err.Error(), "infra/edge") {
		t.Errorf("without its Gateway: %v", err)
	}
	own := &gwv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "edge"}}
	g.reconcile(t.Context(), source.Update{Resources: &translate.Resources{Gateways: []*gwv1.Gateway{own}}})
	if err := g.ready(); err != nil {
		t.Errorf("with its Gateway: %v", err)
	}
}

// A data plane tells the other pods of its Service, at the admin port that it has
// itself, and nobody when it is not among them.
func TestGatewayMeetsItsSiblings(t *testing.T) {
	cfg := Defaults()
	cfg.Admin, cfg.ShareInterval = ":19000", 100*time.Millisecond
	g, err := NewGateway(cfg, types.NamespacedName{Namespace: "infra", Name: "edge"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	g.own = []netip.Addr{netip.MustParseAddr("10.0.0.2")}
	pods := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "infra", Labels: map[string]string{discoveryv1.LabelServiceName: "edge-crossfade"}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}}, {Addresses: []string{"10.0.0.2"}}, {Addresses: []string{"10.0.0.3"}}},
	}
	own := &gwv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "edge"}, Spec: gwv1.GatewaySpec{GatewayClassName: "crossfade"}}
	r := &translate.Resources{Gateways: []*gwv1.Gateway{own}, EndpointSlices: []*discoveryv1.EndpointSlice{pods}}
	g.reconcile(t.Context(), source.Update{Resources: r})
	if n := g.gossip.Stats().Peers; n != 2 {
		t.Errorf("%d peers, want 2", n)
	}
	if g.sources().Gossip == nil {
		t.Error("the admin port takes no news")
	}
	g.own = nil
	g.reconcile(t.Context(), source.Update{Resources: r})
	if n := g.gossip.Stats().Peers; n != 0 {
		t.Errorf("%d peers of who is no pod of the data plane", n)
	}
}

// A port that somebody holds is asked for again.
func TestTakenPortIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rung := 0
		p := newPlane(Defaults(), func() { rung++ })
		p.listeners = proxy.NewListeners(p.proxy, proxy.ListenerOptions{
			Listen: func(context.Context, string, string) (net.Listener, error) { return nil, syscall.EADDRINUSE },
		})
		p.serve(t.Context(), &routing.Snapshot{Ports: []*routing.Port{{Number: 80}}})
		time.Sleep(rebind + 1)
		synctest.Wait()
		if rung != 1 {
			t.Errorf("rung %d times", rung)
		}
	})
}
