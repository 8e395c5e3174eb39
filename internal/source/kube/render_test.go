package kube

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/translate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/yaml"
)

var rewrite = flag.Bool("update", false, "rewrite the expected results in testdata")

var testRenderer = &renderer{image: "example.com/crossfade:1", controller: "crossfade.dev/gateway", clusterRole: "crossfade-gateway"}

func pointerTo[T any](v T) *T { return &v }

func plainPlane() *translate.DataPlane {
	return &translate.DataPlane{
		Gateway: gatewayRef("edge"), UID: "1234", Class: "crossfade", Name: "edge-crossfade",
		Ports: []translate.DataPlanePort{{Number: 80, AppProtocol: "http"}, {Number: 443, AppProtocol: "https"}},
	}
}

func fullPlane() *translate.DataPlane {
	d := plainPlane()
	d.Labels = map[string]string{"team": "a", managedLabel: "somebody"}
	d.Annotations = map[string]string{"example.com/note": "b"}
	d.Addresses = []string{"10.0.0.1", "10.0.0.2"}
	d.Secrets = []types.NamespacedName{{Namespace: "certs", Name: "a"}, {Namespace: "certs", Name: "b"}, {Namespace: "infra", Name: "c"}}
	d.Parameters = cfv1a1.GatewayParametersSpec{
		Replicas: pointerTo(int32(5)), Image: pointerTo("example.com/other:2"), ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}},
		Resources:    &corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": resource.MustParse("500m")}},
		NodeSelector: map[string]string{"pool": "edge"}, Tolerations: []corev1.Toleration{{Key: "edge", Operator: corev1.TolerationOpExists}},
		PriorityClassName: pointerTo("high"), Args: []string{"--log-level", "debug"}, Drain: &metav1.Duration{Duration: 90 * time.Second},
		Service: &cfv1a1.GatewayService{
			LoadBalancerClass: pointerTo("example.com/lb"), ExternalTrafficPolicy: pointerTo(corev1.ServiceExternalTrafficPolicyLocal),
			Annotations: map[string]string{"example.com/lb": "internal"},
		},
	}
	return d
}

func TestRender(t *testing.T) {
	for name, d := range map[string]*translate.DataPlane{"plain": plainPlane(), "full": fullPlane()} {
		t.Run(name, func(t *testing.T) {
			var docs []string
			for _, o := range testRenderer.render(d) {
				body, err := applied(o.object)
				if err != nil {
					t.Fatal(err)
				}
				text, err := yaml.Marshal(body.Object)
				if err != nil {
					t.Fatal(err)
				}
				docs = append(docs, string(text))
			}
			got := []byte(strings.Join(docs, "---\n"))
			path := filepath.Join("testdata", name+".yaml")
			if *rewrite {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, want) {
				t.Errorf("differs from %s, got:\n%s", path, got)
			}
		})
	}
}

func TestPodsDoNotFollowListeners(t *testing.T) {
	a, b := plainPlane(), plainPlane()
	b.Ports, b.Secrets, b.Addresses = b.Ports[:1], []types.NamespacedName{{Namespace: "infra", Name: "c"}}, []string{"10.0.0.1"}
	one, err := yaml.Marshal(testRenderer.deployment(a))
	if err != nil {
		t.Fatal(err)
	}
	other, err := yaml.Marshal(testRenderer.deployment(b))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, other) {
		t.Error("a change of listeners rolls the pods")
	}
}

func TestReplicas(t *testing.T) {
	managed := func(manager, operation, fields string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"replicas": int64(7)}}}
		o.SetManagedFields([]metav1.ManagedFieldsEntry{{
			Manager: manager, Operation: metav1.ManagedFieldsOperationType(operation), FieldsType: "FieldsV1",
			FieldsV1: &metav1.FieldsV1{Raw: []byte(fields)},
		}})
		return o
	}
	const ofReplicas, ofOthers = `{"f:spec":{"f:replicas":{}}}`, `{"f:spec":{"f:template":{}}}`
	for _, c := range []struct {
		name string
		now  *unstructured.Unstructured
		want *int32
	}{
		{"a new Deployment", nil, pointerTo(int32(2))},
		{"still ours", managed(fieldManager, "Apply", ofReplicas), pointerTo(int32(7))},
		{"scaled by somebody", managed("kubectl", "Update", ofReplicas), nil},
		{"scaled, and we own the rest", managed(fieldManager, "Apply", ofOthers), nil},
		{"no managed fields", &unstructured.Unstructured{Object: map[string]any{}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := replicas(c.now)
			if (got == nil) != (c.want == nil) || got != nil && *got != *c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestControllerValueIsALabelValue(t *testing.T) {
	for in, want := range map[string]string{
		"crossfade.dev/gateway":            "crossfade.dev_gateway",
		"a/~b!":                            "a__b",
		"x.io/" + strings.Repeat("y", 100): "x.io_" + strings.Repeat("y", 58),
	} {
		if got := controllerValue(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}
