package kube

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"crossfade.dev/internal/source"
)

// load is a cluster of 200 pools with 25 pods each and 1,000 routes.
func load() string {
	docs := []string{strings.TrimSpace(planeSeed)}
	for i := range 200 {
		docs = append(docs, fmt.Sprintf("{apiVersion: inference.networking.k8s.io/v1, kind: InferencePool, metadata: {name: p%d, namespace: chat%d}, spec: {selector: {matchLabels: {app: p%d}}, targetPorts: [{number: 8000}]}}", i, i%10, i))
	}
	for i := range 1000 {
		docs = append(docs, fmt.Sprintf("{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r%d, namespace: chat%d}, spec: {parentRefs: [{name: edge, namespace: infra}], rules: [{matches: [{path: {type: PathPrefix, value: /r%d}}], backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: p%d}]}]}}", i, i%10, i, i%200))
	}
	for i := range 5000 {
		docs = append(docs, fmt.Sprintf("{apiVersion: v1, kind: Pod, metadata: {name: pod%d, namespace: chat%d, labels: {app: p%d, version: v1}, annotations: {a: b}}, spec: {containers: [{name: vllm, image: x, env: [{name: A, value: b}], ports: [{containerPort: 8000}]}]}, status: {phase: Running, podIP: 10.%d.%d.1, conditions: [{type: Ready, status: 'True'}, {type: Initialized, status: 'True'}]}}", i, i%10, i%200, i/250, i%250))
	}
	return strings.Join(docs, "\n---\n")
}

// BenchmarkChange measures the time from a pod's change at the API server to the
// update that shows it, hold-off of a millisecond included, and the memory that
// the source holds.
func BenchmarkChange(b *testing.B) {
	s := newAPIServer(b)
	s.apply(b, load())
	before := heap()
	f := follow(b, s, Options{Statuses: true, Controllers: []string{"crossfade.dev/gateway"}})
	f.until("all pods", func(u source.Update) bool { return len(u.Resources.Pods) == 5000 })
	held := heap() - before
	i := 0
	for b.Loop() {
		i++
		ip := fmt.Sprintf("192.168.%d.%d", i/250%250, i%250)
		pod := s.get("pods", "chat0", "pod0")
		pod["status"].(map[string]any)["podIP"] = ip
		s.put(b, pod)
		f.until("the change", func(u source.Update) bool {
			for _, p := range u.Resources.Pods {
				if p.Status.PodIP == ip {
					return true
				}
			}
			return false
		})
	}
	b.ReportMetric(float64(held)/(1<<20), "MB-held")
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkGather measures putting an update together.
func BenchmarkGather(b *testing.B) {
	s := newAPIServer(b)
	s.apply(b, load())
	f := follow(b, s, Options{Statuses: true, Controllers: []string{"crossfade.dev/gateway"}})
	f.until("all pods", func(u source.Update) bool { return len(u.Resources.Pods) == 5000 })
	b.ReportAllocs()
	for b.Loop() {
		f.source.mu.Lock()
		u := f.source.gather()
		f.source.wanted(u.Resources)
		f.source.mu.Unlock()
	}
}
