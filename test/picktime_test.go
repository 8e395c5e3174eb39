package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/app"
)

// engines is a pool of so many simulated model servers, led to by the header pool.
const engines = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: NAME}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      containers:
      - {name: vllm, image: vllm, command: [vllm, serve, /models/m, --served-model-name, chat, --max-model-len, "200000"]}
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: NAME}
spec:
  selector: {matchLabels: {app: NAME}}
  targetPorts: [{number: 8000}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: NAME}
spec:
  parentRefs: [{name: gateway}]
  rules:
  - matches: [{headers: [{name: pool, value: NAME}]}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: NAME}]
---
`

const entrance = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: crossfade}
spec: {controllerName: crossfade.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gateway}
spec:
  gatewayClassName: crossfade
  listeners: [{name: http, protocol: HTTP, port: 8080}]
---
`

// BenchmarkAddedTTFT is what the gateway adds to the time until the first token of a
// stream, and what of that comes from having twenty endpoints to choose from: the
// same prompt to one simulated model server directly, through the gateway to a pool
// of one, and to a pool of twenty, in turns. Medians, and medians of the differences
// within a turn, in microseconds.
func BenchmarkAddedTTFT(b *testing.B) {
	dir := b.TempDir()
	text := entrance
	for name, replicas := range map[string]string{"one": "1", "twenty": "20"} {
		text += strings.NewReplacer("NAME", name, "REPLICAS", replicas).Replace(engines)
	}
	if err := os.WriteFile(filepath.Join(dir, "all.yaml"), []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	g := start(b, dir, func(c *app.Config) { c.SimSpeed = 10_000 })
	server := g.endpointOf(b, "default/one")
	for _, size := range []int{2 << 10, 220 << 10} {
		b.Run(fmt.Sprintf("prompt=%dKB", size>>10), func(b *testing.B) {
			body := chatOf(b, size)
			ways := []struct{ name, url, pool string }{
				{"direct", "http://" + server + "/v1/chat/completions", ""},
				{"one", g.url("/v1/chat/completions"), "one"},
				{"twenty", g.url("/v1/chat/completions"), "twenty"},
			}
			times := make([][]time.Duration, len(ways))
			for b.Loop() {
				for i, w := range ways {
					times[i] = append(times[i], g.firstToken(b, w.url, w.pool, body))
				}
			}
			micros := func(v []time.Duration) float64 {
				v = slices.Clone(v)
				slices.Sort(v)
				return float64(v[len(v)/2]) / 1e3
			}
			minus := func(x, y []time.Duration) float64 {
				out := make([]time.Duration, len(x))
				for i := range x {
					out[i] = x[i] - y[i]
				}
				return micros(out)
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(micros(times[0]), "µs-direct")
			b.ReportMetric(minus(times[2], times[0]), "µs-added")
			b.ReportMetric(minus(times[2], times[1]), "µs-twenty-for-one")
		})
	}
}

// endpointOf returns the address of a pool's first endpoint.
func (g *gateway) endpointOf(t testing.TB, pool string) string {
	t.Helper()
	var status struct {
		Pools []struct {
			Name      string
			Endpoints []struct{ Address string }
		}
	}
	if err := json.Unmarshal([]byte(g.adminGet(t, "/status")), &status); err != nil {
		t.Fatal(err)
	}
	for _, p := range status.Pools {
		if p.Name == pool && len(p.Endpoints) > 0 {
			return p.Endpoints[0].Address
		}
	}
	t.Fatalf("no pool %s with endpoints", pool)
	return ""
}

// chatOf is a request for a stream of a few tokens with a prompt of so many bytes.
func chatOf(t testing.TB, size int) []byte {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"model": "chat", "stream": true, "max_tokens": 4,
		"messages": []map[string]string{{"role": "user", "content": strings.Repeat("how do I get from here to there? ", size/33)}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// firstToken sends a request and returns when the first event of the answer came.
func (g *gateway) firstToken(t testing.TB, url, pool string, body []byte) time.Duration {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Pool", pool)
	began := time.Now()
	answer, err := g.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	if !lines.Scan() || answer.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", answer.Status, lines.Text())
	}
	took := time.Since(began)
	for lines.Scan() { // the rest, so that the connection can be used again
	}
	return took
}
