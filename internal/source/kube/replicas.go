package kube

import (
	"cmp"
	"net"
	"slices"
	"strconv"

	"crossfade.dev/internal/translate"
	corev1 "k8s.io/api/core/v1"
)

// Replica is one process of a data plane.
type Replica struct {
	// Name is "namespace/name" of its pod, Address where its admin server is.
	Name, Address string
}

// Replicas returns the ready replicas of a data plane, sorted by name, among the pods
// that a Source with Statuses set delivers: those of data planes are among them while
// there is an InferenceRollout. What starts, drains or fails is no replica: it may not
// answer for long, and gets no new requests.
func Replicas(r *translate.Resources, d *translate.DataPlane) []Replica {
	want := selector(d)
	want[managedLabel] = managedBy
	var out []Replica
	for _, p := range r.Pods {
		if p.Namespace != d.Gateway.Namespace || p.DeletionTimestamp != nil || p.Status.PodIP == "" || !podReady(p) {
			continue
		}
		ours := true
		for key, value := range want {
			ours = ours && p.Labels[key] == value
		}
		if ours {
			out = append(out, Replica{Name: p.Namespace + "/" + p.Name, Address: net.JoinHostPort(p.Status.PodIP, strconv.Itoa(translate.DataPlaneAdminPort))})
		}
	}
	slices.SortFunc(out, func(a, b Replica) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func podReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
