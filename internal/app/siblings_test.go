package app

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// once is a source that has one picture to show.
type once struct{ update source.Update }

func (o once) Run(ctx context.Context, publish func(source.Update)) error {
	publish(o.update)
	<-ctx.Done()
	return nil
}

// Two pods of a data plane know of each other's calls, by the addresses that the
// Service's EndpointSlice has.
func TestSiblingsKnowOfEachOther(t *testing.T) {
	probe, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Skipf("this machine has one loopback address: %v", err)
	}
	_, port, _ := net.SplitHostPort(probe.Addr().String())
	probe.Close()
	slice := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "infra", Labels: map[string]string{discoveryv1.LabelServiceName: "edge-crossfade"}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	// The first is where connections on loopback come from; nobody listens there.
	for _, a := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"} {
		slice.Endpoints = append(slice.Endpoints, discoveryv1.Endpoint{Addresses: []string{a}})
	}
	own := &gwv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "infra", Name: "edge"}, Spec: gwv1.GatewaySpec{GatewayClassName: "crossfade"}}
	resources := &translate.Resources{Gateways: []*gwv1.Gateway{own}, EndpointSlices: []*discoveryv1.EndpointSlice{slice}}
	pool := &routing.Pool{ID: "p", Inference: true, Endpoints: []routing.Endpoint{{Address: "10.0.0.1:8000"}}}

	ctx, stop := context.WithCancel(t.Context())
	var all []*Gateway
	ended := make(chan error, 2)
	for _, a := range []string{"127.0.0.2", "127.0.0.3"} {
		cfg := Defaults()
		cfg.Admin, cfg.ShareInterval, cfg.Drain = net.JoinHostPort(a, port), 10*time.Millisecond, time.Second
		g, err := NewGateway(cfg, types.NamespacedName{Namespace: "infra", Name: "edge"}, once{source.Update{Resources: resources}})
		if err != nil {
			t.Fatal(err)
		}
		g.own = []netip.Addr{netip.MustParseAddr(a)}
		all = append(all, g)
		go func() { ended <- g.Run(ctx) }()
	}
	for i, g := range all {
		for g.gossip.Stats().Peers == 0 { // the snapshot, which forgets pools that it lacks, comes first
			time.Sleep(time.Millisecond)
		}
		for range 2 - i {
			if _, err := g.scheduler.Pick(ctx, &scheduling.Call{Request: &llm.Request{Stream: true}, At: time.Now()}, pool); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, want := range []int{1, 2} {
		for all[i].scheduler.Stats()[0].Endpoints[0].Peers != want {
			time.Sleep(time.Millisecond)
		}
	}
	stop()
	for range all {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}
