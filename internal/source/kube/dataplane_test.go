package kube

import (
	"context"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
)

const planeSeed = `{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: crossfade}, spec: {controllerName: crossfade.dev/gateway}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: edge, namespace: infra, uid: "1234"}, spec: {gatewayClassName: crossfade, listeners: []}}`

type planes struct {
	*DataPlanes
	follower *follower
	writes   chan string
	problems chan *translate.Problem
}

func planesOf(t *testing.T, s *apiServer) *planes {
	p := &planes{writes: make(chan string, 1000), problems: make(chan *translate.Problem, 100)}
	s.wrote = func(what string) { p.writes <- what }
	s.apply(t, planeSeed)
	p.follower = follow(t, s, Options{Statuses: true, Controllers: []string{"crossfade.dev/gateway"}})
	p.follower.until("the Gateway", holds("Gateway infra/edge"))
	p.DataPlanes = NewDataPlanes(p.follower.source, DataPlaneOptions{
		Image: "example.com/crossfade:1", Controller: "crossfade.dev/gateway",
		Report: func(_ translate.ObjectRef, problem *translate.Problem) { p.problems <- problem },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return p
}

// expect waits for writes, in any order.
func (p *planes) expect(t *testing.T, want ...string) {
	t.Helper()
	left := map[string]bool{}
	for _, w := range want {
		left[w] = true
	}
	for deadline := time.After(20 * time.Second); len(left) > 0; {
		select {
		case got := <-p.writes:
			delete(left, got)
		case <-deadline:
			t.Fatalf("never written: %v", left)
		}
	}
}

var planeObjects = []string{
	"patch serviceaccounts infra/edge-crossfade", "patch clusterrolebindings.rbac.authorization.k8s.io /crossfade-gateway:infra:edge-crossfade",
	"patch services infra/edge-crossfade", "patch poddisruptionbudgets.policy infra/edge-crossfade", "patch deployments.apps infra/edge-crossfade",
}

func removals() []string {
	var out []string
	for _, w := range planeObjects {
		out = append(out, strings.Replace(w, "patch", "delete", 1))
	}
	return out
}

func TestDataPlanesAreMadeAndRemoved(t *testing.T) {
	s := newAPIServer(t)
	p := planesOf(t, s)
	p.Set([]translate.DataPlane{*plainPlane()})
	p.expect(t, planeObjects...)
	p.follower.until("the Service among the objects", func(u source.Update) bool {
		return holds("Service infra/edge-crossfade")(u) && len(u.Resources.Deployments) == 1
	})
	if n := *p.follower.last.Resources.Deployments[0].Spec.Replicas; n != 2 {
		t.Errorf("%d replicas", n)
	}

	s.delete("deployments.apps", "infra", "edge-crossfade")
	p.follower.until("no Deployment", func(u source.Update) bool { return len(u.Resources.Deployments) == 0 })
	p.Set([]translate.DataPlane{*plainPlane()})
	p.expect(t, "patch deployments.apps infra/edge-crossfade")

	p.Set(nil)
	p.expect(t, removals()...)
}

func TestDataPlanesOfAnEarlierControllerAreRemoved(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, `{apiVersion: apps/v1, kind: Deployment, metadata: {name: old, namespace: infra, labels: {app.kubernetes.io/managed-by: crossfade, crossfade.dev/controller: crossfade.dev_gateway}, annotations: {crossfade.dev/gateway: infra/old}}, spec: {}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: other, namespace: infra, labels: {app.kubernetes.io/managed-by: crossfade, crossfade.dev/controller: else}, annotations: {crossfade.dev/gateway: infra/other}}, spec: {}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: classless, namespace: infra}, spec: {gatewayClassName: gone, listeners: []}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: classless, namespace: infra, labels: {app.kubernetes.io/managed-by: crossfade, crossfade.dev/controller: crossfade.dev_gateway}, annotations: {crossfade.dev/gateway: infra/classless}}, spec: {}}`)
	p := planesOf(t, s)
	p.Set(nil)
	p.expect(t, "delete deployments.apps infra/old")
	for _, name := range []string{"other", "classless"} {
		if s.get("deployments.apps", "infra", name) == nil {
			t.Errorf("%s is gone", name)
		}
	}
}

func TestDataPlanesLeaveWhatIsNotTheirs(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, `{apiVersion: v1, kind: Service, metadata: {name: edge-crossfade, namespace: infra, labels: {app: mine}}, spec: {clusterIP: 10.0.0.9}}`)
	p := planesOf(t, s)
	p.Set([]translate.DataPlane{*plainPlane()})
	p.expect(t, "patch deployments.apps infra/edge-crossfade")
	problem := <-p.problems
	if problem == nil || problem.Message != "Service infra/edge-crossfade exists and was not made for Gateway infra/edge by this controller" {
		t.Errorf("problem is %v", problem)
	}
	s.delete("services", "infra", "edge-crossfade")
	p.expect(t, "patch services infra/edge-crossfade")
	if problem := <-p.problems; problem != nil {
		t.Errorf("problem is %v", problem)
	}
}

func TestDataPlanesAreNotRemovedWhileGatewaysAreUnknown(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, planeSeed)
	s.setFault(func(_, resource, _ string) int {
		if resource == "gateways.gateway.networking.k8s.io" {
			return 403
		}
		return 0
	})
	f := follow(t, s, Options{Statuses: true})
	f.until("the rest", holds("GatewayClass /crossfade"))
	d := NewDataPlanes(f.source, DataPlaneOptions{Controller: "crossfade.dev/gateway"})
	if err := d.sweep(context.Background()); err == nil {
		t.Error("removed what no known Gateway wants")
	}
}
