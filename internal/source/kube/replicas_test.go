package kube

import (
	"fmt"
	"strings"
	"testing"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// dataPlanePod is a pod of the data plane of Gateway infra/edge.
func dataPlanePod(name, ip, ready, labels string) string {
	return fmt.Sprintf(`{apiVersion: v1, kind: Pod, metadata: {name: %s, namespace: infra, labels: {app.kubernetes.io/name: crossfade, app.kubernetes.io/component: gateway, app.kubernetes.io/instance: edge-crossfade%s}}, status: {phase: Running, podIP: %q, conditions: [{type: Ready, status: %q}]}}
---
`, name, labels, ip, ready)
}

var edgePlane = &translate.DataPlane{Gateway: translate.ObjectRef{Group: "gateway.networking.k8s.io", Kind: "Gateway", Namespace: "infra", Name: "edge"}, Name: "edge-crossfade"}

func TestReplicasAreReadyPodsOfTheDataPlane(t *testing.T) {
	const managed = ", app.kubernetes.io/managed-by: crossfade"
	r := resources(t, dataPlanePod("b", "10.0.0.2", "True", managed)+dataPlanePod("a", "fd00::1", "True", managed)+
		dataPlanePod("starting", "10.0.0.3", "False", managed)+dataPlanePod("pending", "", "True", managed)+
		dataPlanePod("another", "10.0.0.4", "True", managed+"2")+dataPlanePod("unmanaged", "10.0.0.5", "True", ""))
	gone := *r.Pods[0]
	gone.Name, gone.DeletionTimestamp = "gone", &metav1.Time{}
	elsewhere := *r.Pods[0]
	elsewhere.Namespace = "other"
	unknown := *r.Pods[0]
	unknown.Name, unknown.Status = "unknown", corev1.PodStatus{PodIP: "10.0.0.6"}
	r.Pods = append(r.Pods, &gone, &elsewhere, &unknown)
	if got := fmt.Sprint(Replicas(r, edgePlane)); got != "[{infra/a [fd00::1]:19000} {infra/b 10.0.0.2:19000}]" {
		t.Errorf("got %s", got)
	}
}

// The controller sees data planes' pods as soon as there is a rollout, once each though
// two watches may have them.
func TestPodsOfDataPlanesAreWatchedWhereThereAreRollouts(t *testing.T) {
	s := newAPIServer(t)
	pool := `{apiVersion: inference.networking.k8s.io/v1, kind: InferencePool, metadata: {name: near, namespace: infra}, spec: {selector: {matchLabels: {app.kubernetes.io/name: crossfade}}, targetPorts: [{number: 1}]}}`
	s.apply(t, seed)
	s.apply(t, strings.ReplaceAll(dataPlanePod("edge-1", "10.0.0.2", "True", ", app.kubernetes.io/managed-by: crossfade"), "---", ""))
	f := follow(t, s, Options{Statuses: true})
	f.until("the rest", holds("HTTPRoute chat/chat"))
	if n := len(Replicas(f.last.Resources, edgePlane)); n != 0 {
		t.Errorf("%d replicas without a rollout", n)
	}
	s.apply(t, aRollout)
	f.until("a replica", func(u source.Update) bool { return len(Replicas(u.Resources, edgePlane)) == 1 })
	s.apply(t, pool)
	f.until("a pool beside it", holds("InferencePool infra/near"))
	if n := len(Replicas(f.last.Resources, edgePlane)); n != 1 {
		t.Fatalf("%d replicas, want one", n)
	}
}
