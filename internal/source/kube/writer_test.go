package kube

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// writerOf runs a StatusWriter over the objects of s until the test ends, and
// returns the writes it makes.
func writerOf(t *testing.T, s *apiServer, text string) (*StatusWriter, *follower, chan string) {
	writes := make(chan string, 10_000)
	s.wrote = func(what string) { writes <- what }
	s.apply(t, text)
	f := follow(t, s, Options{Statuses: true, Controllers: []string{"crossfade.dev/gateway"}})
	f.until("the objects", func(source.Update) bool { return true })
	w := NewStatusWriter(f.source)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w, f, writes
}

func await(t *testing.T, writes <-chan string, want string) {
	t.Helper()
	select {
	case got := <-writes:
		if got != want {
			t.Fatalf("wrote %q, want %q", got, want)
		}
	case <-time.After(20 * time.Second):
		t.Fatalf("nothing is written, want %q", want)
	}
}

// settled waits until there is nothing left to write.
func settled(t *testing.T, w *StatusWriter) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		left := 0
		for _, ref := range w.source.judgedObjects() {
			if w.task(ref, w.source.live(ref)) != nil {
				left++
			}
		}
		if left == 0 {
			return
		}
	}
	t.Fatal("the writer does not come to rest")
}

func routeRef(name string) translate.ObjectRef {
	return translate.ObjectRef{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Namespace: "chat", Name: name}
}

func routeStatus(name, reason string) translate.Status {
	return translate.Status{Ref: routeRef(name), Generation: 1, Parents: []translate.ParentStatus{{
		Parent: gatewayRef("edge"), Controller: "crossfade.dev/gateway",
		Conditions: []metav1.Condition{{Type: "Accepted", Status: metav1.ConditionTrue, Reason: reason}},
	}}}
}

const routeResource = "httproutes.gateway.networking.k8s.io"

func routes(n int) string {
	var docs []string
	for i := range n {
		docs = append(docs, fmt.Sprintf("{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: r%d, namespace: chat}, spec: {}}", i))
	}
	return strings.Join(docs, "\n---\n")
}

func reasonOf(s *apiServer, name string) string {
	status, _ := s.get(routeResource, "chat", name)["status"].(map[string]any)
	for _, p := range list(status, "parents") {
		for _, c := range list(p.(map[string]any), "conditions") {
			return text(c.(map[string]any), "reason")
		}
	}
	return ""
}

func TestWriterWritesOnceAndOnlyWhatDiffers(t *testing.T) {
	s := newAPIServer(t)
	w, _, writes := writerOf(t, s, routes(2))
	w.Set([]translate.Status{routeStatus("r0", "Accepted")})
	await(t, writes, "patch "+routeResource+" chat/r0/status")
	for range 5 {
		w.Set([]translate.Status{routeStatus("r0", "Accepted")})
	}
	w.Set([]translate.Status{routeStatus("r0", "Other")})
	await(t, writes, "patch "+routeResource+" chat/r0/status")
	settled(t, w)
	if got := reasonOf(s, "r0"); got != "Other" || len(writes) != 0 {
		t.Errorf("reason %q, %d more writes", got, len(writes))
	}
	w.Set(nil)
	await(t, writes, "patch "+routeResource+" chat/r0/status")
	if got := reasonOf(s, "r0"); got != "" {
		t.Errorf("the entry of a route that left stays: %s", got)
	}
}

func TestWriterReadsAgainOnConflict(t *testing.T) {
	s := newAPIServer(t)
	w, _, writes := writerOf(t, s, routes(1))
	var once atomic.Bool
	s.writeFault = func(string) int {
		if once.CompareAndSwap(false, true) {
			o := s.get(routeResource, "chat", "r0")
			o["status"] = fields(t, "parents: [{controllerName: example.com/x, parentRef: {name: a}, conditions: []}]")
			s.put(t, o)
			return 409
		}
		return 0
	}
	w.Set([]translate.Status{routeStatus("r0", "Accepted")})
	await(t, writes, "patch "+routeResource+" chat/r0/status")
	settled(t, w)
	status := s.get(routeResource, "chat", "r0")["status"].(map[string]any)
	if n := len(list(status, "parents")); n != 2 {
		t.Errorf("%d entries, want the other's and ours: %v", n, status)
	}
}

func TestWriterGoesOnWithOthersWhenOneIsRefused(t *testing.T) {
	s := newAPIServer(t)
	w, _, writes := writerOf(t, s, routes(20))
	s.writeFault = func(what string) int {
		if strings.Contains(what, "/r3/") {
			return 422
		}
		return 0
	}
	var statuses []translate.Status
	for i := range 20 {
		statuses = append(statuses, routeStatus(fmt.Sprint("r", i), "Accepted"))
	}
	w.Set(statuses)
	for range 19 {
		if what := <-writes; strings.Contains(what, "/r3/") {
			t.Errorf("wrote %s", what)
		}
	}
}

func TestWriterPutsBackWhatIsRemovedWithoutAFight(t *testing.T) {
	s := newAPIServer(t)
	w, _, writes := writerOf(t, s, routes(1))
	w.Set([]translate.Status{routeStatus("r0", "Accepted")})
	await(t, writes, "patch "+routeResource+" chat/r0/status")
	for range 3 {
		o := s.get(routeResource, "chat", "r0")
		delete(o, "status")
		s.put(t, o)
		await(t, writes, "patch "+routeResource+" chat/r0/status")
	}
	settled(t, w)
	w.mu.Lock()
	defer w.mu.Unlock()
	if last := w.written[routeRef("r0")]; last.undone != 3 {
		t.Errorf("changed back %d times, want 3, each with a longer pause", last.undone)
	}
}

func TestWriterAcceptsWhatTheAPIServerLeavesOut(t *testing.T) {
	s := newAPIServer(t)
	pool := translate.ObjectRef{Group: poolKind.Group, Kind: "InferencePool", Namespace: "chat", Name: "qwen"}
	w, _, writes := writerOf(t, s, "{apiVersion: inference.networking.k8s.io/v1, kind: InferencePool, metadata: {name: qwen, namespace: chat}, spec: {}}")
	s.pruned = "controllerName"
	status := routeStatus("x", "Accepted")
	status.Ref = pool
	gateway := translate.Status{Ref: gatewayRef("edge")}
	w.Set([]translate.Status{status, gateway})
	await(t, writes, "patch inferencepools.inference.networking.k8s.io chat/qwen/status")
	settled(t, w)
	w.queue.Add(pool)
	settled(t, w)
	if len(writes) != 0 {
		t.Errorf("%d more writes", len(writes))
	}
}
