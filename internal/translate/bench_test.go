package translate

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// BenchmarkBuild translates a large cluster: 1,000 HTTPRoutes with a canary each,
// 200 pools and 5,000 pods whose models are known. It runs on every change.
func BenchmarkBuild(b *testing.B) {
	in := largeCluster(1000, 200, 5000)
	opts := Options{Controller: testController}
	r := Build(in, opts)
	if n := len(r.Snapshot.Pools); n != 200 {
		b.Fatalf("%d pools, want 200; problems: %v", n, r.Problems[:min(len(r.Problems), 3)])
	}
	b.ReportAllocs()
	for b.Loop() {
		Build(in, opts)
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/build")
}

func largeCluster(routes, pools, pods int) *Resources {
	in := &Resources{Models: map[string][]string{}}
	meta := func(format string, i int) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf(format, i), Generation: 1}
	}
	in.GatewayClasses = []*gwv1.GatewayClass{{ObjectMeta: metav1.ObjectMeta{Name: "c"}}}
	in.Gateways = []*gwv1.Gateway{{ObjectMeta: meta("gw", 0), Spec: gwv1.GatewaySpec{GatewayClassName: "c",
		Listeners: []gwv1.Listener{{Name: "http", Port: 80, Protocol: gwv1.HTTPProtocolType}}}}}
	in.Gateways[0].Name = "gw"
	for i := range pods {
		labels := map[string]string{"app": "llm", "pool": fmt.Sprint(i % pools), "pod-template-hash": fmt.Sprint(i / 7), "tier": "gpu"}
		p := &corev1.Pod{ObjectMeta: meta("pod-%d", i)}
		p.Labels, p.Status.PodIP = labels, fmt.Sprintf("10.%d.%d.1", i/250, i%250)
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		in.Pods = append(in.Pods, p)
		in.Models[p.Status.PodIP+":8000"] = []string{fmt.Sprintf("model-%d", i%pools), "base"}
	}
	for i := range pools {
		in.InferencePools = append(in.InferencePools, &infv1.InferencePool{ObjectMeta: meta("pool-%d", i), Spec: infv1.InferencePoolSpec{
			Selector:    infv1.LabelSelector{MatchLabels: map[infv1.LabelKey]infv1.LabelValue{"app": "llm", "pool": infv1.LabelValue(fmt.Sprint(i))}},
			TargetPorts: []infv1.Port{{Number: 8000}},
		}})
	}
	group, kind := gwv1.Group(inferenceGroup), gwv1.Kind(kindInferencePool)
	backend := func(i int, weight int32) gwv1.HTTPBackendRef {
		return gwv1.HTTPBackendRef{BackendRef: gwv1.BackendRef{Weight: &weight,
			BackendObjectReference: gwv1.BackendObjectReference{Group: &group, Kind: &kind, Name: gwv1.ObjectName(fmt.Sprintf("pool-%d", i%pools))}}}
	}
	for i := range routes {
		path := fmt.Sprintf("/team-%d", i)
		in.HTTPRoutes = append(in.HTTPRoutes, &gwv1.HTTPRoute{ObjectMeta: meta("route-%d", i), Spec: gwv1.HTTPRouteSpec{
			CommonRouteSpec: gwv1.CommonRouteSpec{ParentRefs: []gwv1.ParentReference{{Name: "gw"}}},
			Hostnames:       []gwv1.Hostname{gwv1.Hostname(fmt.Sprintf("team-%d.example.com", i%50))},
			Rules: []gwv1.HTTPRouteRule{{
				Matches:     []gwv1.HTTPRouteMatch{{Path: &gwv1.HTTPPathMatch{Value: &path}}},
				BackendRefs: []gwv1.HTTPBackendRef{backend(i, 90), backend(i+1, 10)},
			}},
		}})
	}
	return in
}
