package kube

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/types"
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
		Controller: "crossfade.dev/gateway",
		Report:     func(_ translate.ObjectRef, problem *translate.Problem) { p.problems <- problem },
	})
	p.UseImage("example.com/crossfade:1")
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
	p.Set([]translate.DataPlane{{Gateway: gatewayRef("classless"), Name: "classless", Keep: true}})
	p.expect(t, "delete deployments.apps infra/old")
	for _, name := range []string{"other", "classless"} {
		if s.get("deployments.apps", "infra", name) == nil {
			t.Errorf("%s is gone", name)
		}
	}
}

// What runs for a Gateway that is refused stays as it is.
func TestDataPlanesOfRefusedGatewaysAreKept(t *testing.T) {
	s := newAPIServer(t)
	p := planesOf(t, s)
	p.Set([]translate.DataPlane{*plainPlane()})
	p.expect(t, planeObjects...)
	p.follower.until("the Deployment", func(u source.Update) bool { return len(u.Resources.Deployments) == 1 })
	refused := *plainPlane()
	refused.Ports, refused.Keep = nil, true
	other := *plainPlane()
	other.Gateway, other.Name = gatewayRef("other"), "other-crossfade"
	p.Set([]translate.DataPlane{refused, other})
	p.expect(t, "patch deployments.apps infra/other-crossfade")
	p.Set([]translate.DataPlane{refused})
	p.expect(t, "delete deployments.apps infra/other-crossfade")
	for len(p.writes) > 0 {
		if w := <-p.writes; strings.Contains(w, "infra/edge-crossfade") {
			t.Errorf("%s, though the Gateway is only refused", w)
		}
	}
}

// A Gateway that is made again while what it had is swept keeps what is made for it.
func TestSweepLooksAgainBeforeItRemoves(t *testing.T) {
	s := newAPIServer(t)
	p := planesOf(t, s)
	p.Set([]translate.DataPlane{*plainPlane()})
	p.expect(t, planeObjects...)
	listed := testRenderer.serviceAccount(plainPlane())
	if !p.needs(serviceAccounts, listed) {
		t.Error("an object of a Gateway that there is counts as left behind")
	}
	p.Set(nil)
	p.expect(t, removals()...)
	if p.needs(serviceAccounts, listed) {
		t.Error("an object of a Gateway that is gone is wanted")
	}
	s.apply(t, `{apiVersion: v1, kind: Service, metadata: {name: changed, namespace: infra, uid: "1"}}`)
	stale := testRenderer.service(plainPlane())
	stale.Name, stale.UID, stale.ResourceVersion = "changed", "1", "0"
	if err := p.remove(t.Context(), services, stale); err == nil || s.get("services", "infra", "changed") == nil {
		t.Errorf("an object that changed since it was listed is removed: %v", err)
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

// A mistake in a Gateway changes nothing of what serves it, and a Gateway whose
// class is missing, which may be anybody's, gets nothing.
func TestDataPlanesOfRefusedGatewaysStayAsTheyAre(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: strange, namespace: infra}, spec: {gatewayClassName: gone, listeners: []}}`)
	p := planesOf(t, s)
	full := fullPlane()
	full.Gateway.Name, full.Gateway.Namespace, full.UID = "edge", "infra", "1234"
	p.Set([]translate.DataPlane{*full})
	p.expect(t, "patch deployments.apps "+full.Gateway.Namespace+"/"+full.Name)
	p.follower.until("the Deployment", func(u source.Update) bool { return len(u.Resources.Deployments) == 1 })
	before := len(p.problems)

	kept := translate.DataPlane{Gateway: full.Gateway, UID: full.UID, Class: full.Class, Name: full.Name, Keep: true}
	strange := kept
	strange.Gateway.Name, strange.Name = "strange", "strange-gone"
	another := *plainPlane()
	another.Gateway.Name, another.Name, another.UID = "last", "last-crossfade", "5678"
	p.Set([]translate.DataPlane{kept, strange})
	p.Set([]translate.DataPlane{kept, strange, another})
	p.expect(t, "patch deployments.apps infra/last-crossfade")
	if err := p.sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for len(p.writes) > 0 {
		if w := <-p.writes; !strings.Contains(w, "last-crossfade") {
			t.Errorf("wrote: %s", w)
		}
	}
	if len(p.problems) != before {
		t.Errorf("problem is %v", <-p.problems)
	}
	if s.get("deployments.apps", "infra", "strange-gone") != nil {
		t.Error("a Gateway of no class got a data plane")
	}
}

// What was wrong with a Gateway's objects is over when the Gateway is.
func TestProblemsEndWithTheirGateway(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, `{apiVersion: v1, kind: Service, metadata: {name: edge-crossfade, namespace: infra, labels: {app: mine}}, spec: {clusterIP: 10.0.0.9}}`)
	p := planesOf(t, s)
	p.Set([]translate.DataPlane{*plainPlane()})
	if problem := <-p.problems; problem == nil {
		t.Fatal("no problem")
	}
	p.Set(nil)
	if problem := <-p.problems; problem != nil {
		t.Errorf("problem is %v", problem)
	}
}

// A Deployment that the API server refuses is tried again after longer and longer
// waits, however often something else changes.
func TestAFailingDataPlaneIsNotTriedWithEveryChange(t *testing.T) {
	s := newAPIServer(t)
	f := follow(t, s, Options{Statuses: true})
	f.until("a first picture", func(source.Update) bool { return true })
	d := NewDataPlanes(f.source, DataPlaneOptions{Controller: "crossfade.dev/gateway"})
	d.Set([]translate.DataPlane{*plainPlane()})
	d.queue = newQueue[types.NamespacedName]()
	defer d.queue.ShutDown()
	d.Set([]translate.DataPlane{*plainPlane()})
	if d.queue.Len() != 1 {
		t.Fatal("the Deployment is not missed")
	}
	name, _ := d.queue.Get()
	d.queue.Done(name)
	d.tell(name, errors.New("refused"))
	if d.Set([]translate.DataPlane{*plainPlane()}); d.queue.Len() != 0 {
		t.Error("it is tried again at once")
	}
}
