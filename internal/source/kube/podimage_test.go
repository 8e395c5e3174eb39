package kube

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A controller that starts while the API server is away learns its image later; a
// pod or container that is not there is an error at once.
func TestPodImage(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, `
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: ns}
spec: {containers: [{name: other, image: "x:1"}, {name: controller, image: "crossfade:2"}]}
`)
	var asked atomic.Int64
	s.setFault(func(_, resource, _ string) int {
		if resource == "pods" && asked.Add(1) <= 2 {
			return http.StatusServiceUnavailable
		}
		return 0
	})
	if image, err := PodImage(t.Context(), s.config(), "ns", "p", "controller"); err != nil || image != "crossfade:2" || asked.Load() != 3 {
		t.Errorf("%q after %d attempts, error %v", image, asked.Load(), err)
	}
	for name, want := range map[string]string{"p/lost": "no container lost", "lost/controller": "404"} {
		pod, container, _ := strings.Cut(name, "/")
		if image, err := PodImage(t.Context(), s.config(), "ns", pod, container); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", name, image, err)
		}
	}
}
