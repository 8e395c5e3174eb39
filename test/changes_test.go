package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counter is a model server whose streams count up until it is told to stop, so
// that a lost, doubled or foreign event shows.
type counter struct {
	*httptest.Server
	name string
	stop chan struct{}
}

func startCounter(t *testing.T, name string) *counter {
	c := &counter{name: name, stop: make(chan struct{})}
	c.Server = httptest.NewServer(http.HandlerFunc(c.serve))
	t.Cleanup(c.Close)
	return c
}

func (c *counter) address() string { return strings.TrimPrefix(c.URL, "http://") }

func (c *counter) serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/v1/models":
		fmt.Fprint(w, `{"object":"list","data":[{"id":"count","object":"model"}]}`)
	case "/v1/completions":
		c.count(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (c *counter) count(w http.ResponseWriter, r *http.Request) {
	var ask struct{ Stream bool }
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !ask.Stream {
		fmt.Fprintf(w, `{"engine":%q}`, c.name)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		fmt.Fprintf(w, "data: {\"engine\":%q,\"n\":%d}\n\n", c.name, n)
		w.(http.Flusher).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		case <-c.stop:
			fmt.Fprint(w, "data: [DONE]\n\n")
			return
		}
	}
}

// follow reads one stream to its end and returns how many events came, or what
// was wrong with it.
func follow(ctx context.Context, g *gateway, begun func()) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url("/v1/completions"),
		strings.NewReader(`{"model":"count","prompt":"count","stream":true}`))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := g.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("status %d", resp.StatusCode)
	}
	n, engine := 0, ""
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			if lines.Text() != "" {
				return n, fmt.Errorf("stray line %q", lines.Text())
			}
			continue
		}
		if data == "[DONE]" {
			return n, nil
		}
		var event struct {
			Engine string
			N      int
		}
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return n, fmt.Errorf("event %q: %w", data, err)
		}
		if n == 0 {
			engine = event.Engine
			begun()
		}
		if event.N != n || event.Engine != engine {
			return n, fmt.Errorf("event %d of %s where %d of %s was due", event.N, event.Engine, n, engine)
		}
		n++
	}
	return n, fmt.Errorf("ended after %d events without [DONE]", n)
}

// A change of configuration never cuts or reroutes a running stream, and no
// request that the configuration can serve fails, over a thousand changes of every
// kind: weights, routes, hostnames, pools that lose their endpoints.
func TestThousandChangesUnderStreams(t *testing.T) {
	const changes, streams = 1000, 20
	a, b := startCounter(t, "a"), startCounter(t, "b")
	from := t.TempDir()
	deployment := strings.NewReplacer("ADDRESS-A", a.address(), "ADDRESS-B", b.address()).Replace(read(t, "testdata/changes/engines.yaml"))
	if err := os.WriteFile(filepath.Join(from, "engines.yaml"), []byte(deployment), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "route.yaml"), []byte(route(0)), 0o600); err != nil {
		t.Fatal(err)
	}
	g := start(t, from)

	var running, begun sync.WaitGroup
	begun.Add(streams)
	for i := range streams {
		running.Go(func() {
			var once sync.Once
			n, err := follow(t.Context(), g, func() { once.Do(begun.Done) })
			once.Do(begun.Done)
			if err != nil || n < 100 {
				t.Errorf("stream %d: %d events, %v", i, n, err)
			}
		})
	}
	begun.Wait()

	var served atomic.Int64
	stop := make(chan struct{})
	for range 2 {
		running.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				resp, err := g.client.Post(g.url("/v1/completions"), "application/json", strings.NewReader(`{"model":"count","prompt":"x"}`))
				if err != nil {
					t.Errorf("request during changes: %v", err)
					return
				}
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Errorf("request during changes: status %d", resp.StatusCode)
				}
				served.Add(1)
			}
		})
	}
	for i := 1; i <= changes; i++ {
		before := g.generation(t)
		g.write(t, "route.yaml", route(i))
		for g.generation(t) == before {
			time.Sleep(5 * time.Millisecond)
		}
	}
	close(stop)
	close(a.stop)
	close(b.stop)
	running.Wait()
	t.Logf("%d changes under %d streams; %d other requests, none failed", changes, streams, served.Load())
}

// route is the i-th configuration. All of them serve the requests of the test by
// at least one engine that lives, though not always by the one a stream is on.
func route(i int) string {
	weights := [][2]int{{90, 10}, {0, 100}, {50, 50}, {100, 0}}[i%4]
	text := fmt.Sprintf(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: main}
spec:
  parentRefs: [{name: gateway}]
  rules:
  - name: rule-%d
    timeouts: {request: %ds}
    backendRefs:
    - {group: inference.networking.k8s.io, kind: InferencePool, name: pool-a, weight: %d}
    - {group: inference.networking.k8s.io, kind: InferencePool, name: pool-b, weight: %d}
`, i%3, 3600+i, weights[0], weights[1])
	if i%5 == 0 {
		text += fmt.Sprintf(`---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: other-%d}
spec:
  parentRefs: [{name: gateway}]
  hostnames: [other-%d.example.com]
  rules: [{backendRefs: [{name: missing, port: 80}]}]
`, i, i)
	}
	if weights[0] == 0 {
		// The last document read wins: pool-a loses the endpoint streams are on.
		text += `---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pool-a}
spec: {selector: {matchLabels: {engine: none}}, targetPorts: [{number: 8000}]}
`
	}
	return text
}

// generation is the number of the configuration in effect.
func (g *gateway) generation(t testing.TB) int {
	t.Helper()
	var view struct{ Generation int }
	if err := json.Unmarshal([]byte(g.adminGet(t, "/status")), &view); err != nil {
		t.Fatal(err)
	}
	return view.Generation
}
