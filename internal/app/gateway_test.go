package app

import (
	"context"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
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
