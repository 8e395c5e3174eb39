package kube

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// follower holds the updates of a running source.
type follower struct {
	t       testing.TB
	updates chan source.Update
	last    source.Update
	source  *Source
}

func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(testWriter{t}, nil))
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

// follow runs a source until the test ends.
func follow(t testing.TB, s *apiServer, o Options) *follower {
	o.HoldOff, o.MaxHoldOff, o.Discover = time.Millisecond, 5*time.Millisecond, 20*time.Millisecond
	o.RightsGrace = cmp.Or(o.RightsGrace, 20*time.Millisecond)
	if o.Logger == nil {
		o.Logger = testLogger(t)
	}
	f := &follower{t: t, updates: make(chan source.Update, 1000), source: New(s.config(), o)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.source.Run(ctx, func(u source.Update) { f.updates <- u }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		f.source.clients.http.CloseIdleConnections()
	})
	return f
}

// until takes updates until one is as wanted.
func (f *follower) until(what string, ok func(source.Update) bool) {
	f.t.Helper()
	for deadline := time.After(20 * time.Second); ; {
		select {
		case f.last = <-f.updates:
			if ok(f.last) {
				return
			}
		case <-deadline:
			f.t.Fatalf("no update with %s; last: %s", what, show(f.last))
		}
	}
}

// show prints what an update holds.
func show(u source.Update) string {
	var lines []string
	r := u.Resources
	if r == nil {
		return "nothing"
	}
	add := func(kind string, o object) { lines = append(lines, kind+" "+nameOf(o).String()) }
	for _, o := range r.GatewayClasses {
		add("GatewayClass", o)
	}
	for _, o := range r.Gateways {
		add("Gateway", o)
	}
	for _, o := range r.HTTPRoutes {
		add("HTTPRoute", o)
	}
	for _, o := range r.InferencePools {
		add("InferencePool", o)
	}
	for _, o := range r.LegacyInferencePools {
		add("legacy InferencePool", o)
	}
	for _, o := range r.Pods {
		add("Pod", o)
	}
	for _, o := range r.Services {
		add("Service", o)
	}
	for _, o := range r.Secrets {
		add("Secret", o)
	}
	for _, o := range r.ReferenceGrants {
		add("ReferenceGrant", o)
	}
	for _, o := range r.BackendTrafficPolicies {
		add("BackendTrafficPolicy", o)
	}
	for _, p := range u.Problems {
		lines = append(lines, p.String())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func holds(lines ...string) func(source.Update) bool {
	return func(u source.Update) bool {
		have := strings.Split(show(u), "\n")
		for _, l := range lines {
			if !slices.Contains(have, l) {
				return false
			}
		}
		return true
	}
}

const seed = `
{apiVersion: gateway.networking.k8s.io/v1, kind: GatewayClass, metadata: {name: crossfade}, spec: {controllerName: crossfade.dev/gateway}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: chat, labels: {team: a}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: infra}
spec:
  gatewayClassName: crossfade
  listeners:
  - {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}, {name: alien, namespace: other}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: chat, namespace: chat}
spec:
  parentRefs: [{name: edge, namespace: infra}]
  rules: [{backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: qwen}]}]
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: qwen, namespace: chat}
spec: {selector: {matchLabels: {app: qwen}}, targetPorts: [{number: 8000}]}
---
apiVersion: v1
kind: Pod
metadata: {name: qwen-1, namespace: chat, labels: {app: qwen}, annotations: {noise: x}}
status: {phase: Running, podIP: 10.0.0.1, conditions: [{type: Ready, status: "True"}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: idle, namespace: elsewhere}}
---
{apiVersion: v1, kind: Secret, metadata: {name: cert, namespace: infra}, data: {tls.crt: YQ==, tls.key: Yg==, other: Yw==}}
---
{apiVersion: v1, kind: Secret, metadata: {name: unrelated, namespace: infra}}
---
{apiVersion: v1, kind: Secret, metadata: {name: alien, namespace: other}}
`

func TestRunReadsWhatIsWantedAndNoMore(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, seed)
	f := follow(t, s, Options{Only: types.NamespacedName{Namespace: "infra", Name: "edge"}})
	f.until("everything", holds("Pod chat/qwen-1", "Secret infra/cert"))
	want := `Gateway infra/edge
GatewayClass /crossfade
HTTPRoute chat/chat
InferencePool chat/qwen
Pod chat/qwen-1
Secret infra/cert`
	if got := show(f.last); got != want {
		t.Errorf("the first update holds\n%s\nwant\n%s", got, want)
	}
	wanted := []string{
		"watch secrets infra metadata.name=cert", "watch pods chat status.phase!=Succeeded,status.phase!=Failed",
		"watch endpointslices.discovery.k8s.io infra  kubernetes.io/service-name=edge-crossfade",
	}
	for _, r := range s.asked() {
		for _, secret := range []string{" secrets ", " pods ", " services", " configmaps", " endpointslices"} {
			if strings.Contains(r+" ", secret) && !slices.Contains(wanted, r) {
				t.Errorf("asked for more than is wanted: %s", r)
			}
		}
	}
	p := f.last.Resources.Pods[0]
	if len(p.Annotations) != 0 || p.Kind != "Pod" || p.Status.PodIP != "10.0.0.1" {
		t.Errorf("pod is %+v", p)
	}
	if data := f.last.Resources.Secrets[0].Data; len(data) != 2 {
		t.Errorf("the secret has keys beside the certificate's: %d", len(data))
	}
}

func TestRunFollowsChanges(t *testing.T) {
	for name, legacy := range map[string]bool{"streaming lists": false, "plain lists": true} {
		t.Run(name, func(t *testing.T) {
			s := newAPIServer(t)
			s.legacy = legacy
			s.apply(t, seed)
			f := follow(t, s, Options{})
			f.until("the pod", holds("Pod chat/qwen-1"))

			s.apply(t, `{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: open, namespace: other}, spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: infra}], to: [{group: "", kind: Secret}]}}`)
			s.apply(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: ReferenceGrant, metadata: {name: open, namespace: other}, spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: infra}], to: [{group: "", kind: Secret}]}}`)
			f.until("the secret that is granted", holds("Secret other/alien"))

			s.apply(t, `{apiVersion: v1, kind: Pod, metadata: {name: qwen-2, namespace: chat}}`)
			f.until("a new pod", holds("Pod chat/qwen-2"))
			s.delete("pods", "chat", "qwen-1")
			f.until("no old pod", func(u source.Update) bool { return len(u.Resources.Pods) == 1 })

			s.expire()
			s.apply(t, `{apiVersion: v1, kind: Pod, metadata: {name: qwen-3, namespace: chat}}`)
			f.until("a pod after 410", holds("Pod chat/qwen-2", "Pod chat/qwen-3"))

			s.delete("httproutes.gateway.networking.k8s.io", "chat", "chat")
			s.delete("inferencepools.inference.networking.k8s.io", "chat", "qwen")
			f.until("no pods once nothing wants them", func(u source.Update) bool { return len(u.Resources.Pods) == 0 })
		})
	}
}

func TestRunIgnoresWhatNobodyReads(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, seed)
	f := follow(t, s, Options{Statuses: true})
	f.until("the pod", holds("Pod chat/qwen-1"))
	gateway := s.get("gateways.gateway.networking.k8s.io", "infra", "edge")
	gateway["status"] = map[string]any{"addresses": []any{map[string]any{"value": "10.0.0.9"}}}
	s.put(t, gateway)
	pod := s.get("pods", "chat", "qwen-1")
	pod["metadata"].(map[string]any)["annotations"] = map[string]any{"noise": "louder"}
	s.put(t, pod)
	s.apply(t, `{apiVersion: v1, kind: Pod, metadata: {name: qwen-2, namespace: chat}}`)
	f.until("what matters", holds("Pod chat/qwen-2"))
	if n := len(f.updates); n != 0 {
		t.Errorf("%d more updates", n)
	}
}

func TestRunKeepsItsPictureThroughAnOutage(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, seed)
	f := follow(t, s, Options{})
	f.until("the pod", holds("Pod chat/qwen-1"))

	for _, code := range []int{500, 503, 401, 404} {
		broken := make(chan struct{}, 1000)
		s.setFault(func(verb, _, _ string) int { broken <- struct{}{}; return code })
		s.dropWatches()
		for range 20 {
			<-broken
		}
		s.setFault(nil)
		s.apply(t, `{apiVersion: v1, kind: Pod, metadata: {name: marker-`+string(rune('a'+code%26))+`, namespace: chat}}`)
		f.until("what came after the outage", func(u source.Update) bool {
			if !holds("Pod chat/qwen-1", "HTTPRoute chat/chat", "Gateway infra/edge")(u) {
				t.Fatalf("after %d an update lacks objects:\n%s", code, show(u))
			}
			return holds("Pod chat/marker-" + string(rune('a'+code%26)))(u)
		})
	}
}

func TestRunWaitsForAnAPIServerThatIsAway(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, seed)
	asked := make(chan string, 1000)
	s.setFault(func(verb, _, _ string) int { asked <- verb; return 503 })
	f := follow(t, s, Options{})
	<-asked
	s.setFault(nil)
	f.until("everything at once", func(u source.Update) bool {
		if !holds("Pod chat/qwen-1", "Secret infra/cert")(u) {
			t.Fatalf("a part was published:\n%s", show(u))
		}
		return true
	})
}

func TestRunReportsARightThatIsMissing(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, seed)
	deny := func(_, resource, _ string) int {
		if resource == "secrets" || resource == "referencegrants.gateway.networking.k8s.io" {
			return 403
		}
		return 0
	}
	s.setFault(deny)
	f := follow(t, s, Options{})
	f.until("the rest and two problems", func(u source.Update) bool {
		return holds("Pod chat/qwen-1")(u) && len(u.Problems) == 2
	})
	want := `error: ReferenceGrant *: list and watch of referencegrants.gateway.networking.k8s.io are forbidden, so none are known (grant list and watch of referencegrants.gateway.networking.k8s.io to this ServiceAccount)
error: Secret infra/cert: list and watch of secrets in namespace infra are forbidden, so none are known (grant list and watch of secrets in namespace infra to this ServiceAccount)`
	if got := f.last.Problems[0].String() + "\n" + f.last.Problems[1].String(); got != want {
		t.Errorf("problems are\n%s\nwant\n%s", got, want)
	}
	s.setFault(nil)
	f.until("no problem once the right is there", func(u source.Update) bool {
		return holds("Secret infra/cert")(u) && len(u.Problems) == 0
	})
	s.setFault(deny)
	s.expire()
	f.until("what was known when the right is taken", func(u source.Update) bool {
		return holds("Secret infra/cert")(u) && len(u.Problems) == 2
	})
}

func TestRunFollowsKindsThatComeAndGo(t *testing.T) {
	s := newAPIServer(t)
	pools := findKind(poolKind)
	s.remove(pools)
	s.apply(t, strings.ReplaceAll(seed, "kind: InferencePool\nmetadata: {name: qwen", "kind: InferencePool\nmetadata: {name: early"))
	f := follow(t, s, Options{})
	f.until("the rest", func(u source.Update) bool {
		return holds("HTTPRoute chat/chat")(u) && len(u.Resources.InferencePools) == 0
	})
	s.install(pools)
	f.until("the pool and what it selects", holds("InferencePool chat/early", "Pod chat/qwen-1"))
	s.remove(pools)
	f.until("no pool, and the rest", func(u source.Update) bool {
		return holds("HTTPRoute chat/chat", "Gateway infra/edge")(u) && len(u.Resources.InferencePools) == 0
	})
	s.install(pools)
	s.apply(t, `{apiVersion: inference.networking.k8s.io/v1, kind: InferencePool, metadata: {name: late, namespace: chat}, spec: {selector: {matchLabels: {app: qwen}}, targetPorts: [{number: 8000}]}}`)
	f.until("a pool after all", holds("InferencePool chat/late"))
}

func TestRunReadsAnOlderVersionWhereTheNewOneIsNotServed(t *testing.T) {
	s := newAPIServer(t)
	grants := findKind(schema.GroupKind{Group: "gateway.networking.k8s.io", Kind: "ReferenceGrant"})
	s.remove(grants)
	old := *grants
	old.versions = []string{"v1beta1"}
	s.install(&old)
	s.apply(t, seed)
	s.apply(t, `{apiVersion: gateway.networking.k8s.io/v1beta1, kind: ReferenceGrant, metadata: {name: open, namespace: other}, spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: infra}], to: [{group: "", kind: Secret}]}}`)
	f := follow(t, s, Options{})
	f.until("the granted secret", holds("Secret other/alien", "ReferenceGrant other/open"))
	if got := f.last.Resources.ReferenceGrants[0].APIVersion; got != "gateway.networking.k8s.io/v1" {
		t.Errorf("handed on as %s", got)
	}
}

func TestRunSetsAsideAnObjectThatDoesNotFit(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, seed)
	s.apply(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: odd, namespace: chat}, spec: {rules: 7}}`)
	s.apply(t, `{apiVersion: gateway.envoyproxy.io/v1alpha1, kind: BackendTrafficPolicy, metadata: {name: slow, namespace: chat}, spec: {retry: {numRetries: 3}, targetSelectors: [], timeout: {tcp: {connectTimeout: 1s}, http: {requestTimeout: 5s, idle: 1s}}}}`)
	f := follow(t, s, Options{})
	f.until("the other route", holds("HTTPRoute chat/chat"))
	if len(f.last.Problems) != 1 || f.last.Problems[0].Ref != (translate.ObjectRef{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute", Namespace: "chat", Name: "odd"}) {
		t.Errorf("problems are %v", f.last.Problems)
	}
	ref := translate.ObjectRef{Group: "gateway.envoyproxy.io", Kind: "BackendTrafficPolicy", Namespace: "chat", Name: "slow"}
	want := []string{"spec.retry", "spec.targetSelectors", "spec.timeout.http.idle", "spec.timeout.tcp"}
	if got := f.last.Resources.UnhonouredFields[ref]; !slices.Equal(got, want) {
		t.Errorf("unhonoured are %v, want %v", got, want)
	}
}
