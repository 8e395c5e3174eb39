package kube

import (
	"strings"
	"testing"
)

// The image is the container's; a pod or container that is not there is an error.
func TestPodImage(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, `
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: ns}
spec: {containers: [{name: other, image: "x:1"}, {name: controller, image: "crossfade:2"}]}
`)
	if image, err := PodImage(t.Context(), s.config(), "ns", "p", "controller"); err != nil || image != "crossfade:2" {
		t.Errorf("%q, error %v", image, err)
	}
	for name, want := range map[string]string{"p/lost": "no container lost", "lost/controller": "404"} {
		pod, container, _ := strings.Cut(name, "/")
		if image, err := PodImage(t.Context(), s.config(), "ns", pod, container); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %q, %v", name, image, err)
		}
	}
}
