package test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/extproc"
	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/upstream"
	"crossfade.dev/test/port"
)

// picked is a proxy whose only pool has an external endpoint picker.
type picked struct {
	t         testing.TB
	pool      *routing.Pool
	client    *extproc.Client
	scheduler *scheduling.Scheduler
	server    *httptest.Server
	ended     chan llm.Outcome
}

// outcomes is an Observer that passes on how requests ended.
type outcomes chan llm.Outcome

func (outcomes) Begin(*proxy.Visit)              {}
func (outcomes) Gap(*proxy.Visit, time.Duration) {}
func (o outcomes) End(v *proxy.Visit)            { o <- v.Outcome }

// newPicked serves the engines through a picker at the given addresses.
func newPicked(t testing.TB, pickers []string, engines []string, change ...func(*routing.Pool, *extproc.Options)) *picked {
	t.Helper()
	pool := &routing.Pool{ID: "InferencePool/n/p", Kind: "InferencePool", Name: "n/p", Inference: true,
		Picker: &routing.ExternalPicker{Service: "n/epp:9002", Endpoints: pickers}}
	for _, e := range engines {
		pool.Endpoints = append(pool.Endpoints, routing.Endpoint{Address: e})
	}
	slices.SortFunc(pool.Endpoints, func(a, b routing.Endpoint) int { return strings.Compare(a.Address, b.Address) })
	opts := extproc.Options{Logger: slog.New(slog.NewTextHandler(testWriter{t}, nil)), Timeout: patience}
	for _, c := range change {
		c(pool, &opts)
	}
	w := &picked{t: t, pool: pool, client: extproc.New(opts), scheduler: scheduling.New(scheduling.Options{}), ended: make(chan llm.Outcome, 1000)}
	wire := upstream.New(upstream.Options{})
	p := proxy.New(proxy.Options{
		Picker: w.scheduler, Upstream: wire, Observer: outcomes(w.ended), Logger: opts.Logger,
		External: func(ctx context.Context, pool *routing.Pool) proxy.Consultation { return w.client.Begin(ctx, pool) },
		Limits:   proxy.Limits{MaxBodyBytes: 1 << 20},
	})
	p.Publish(snapshotWith(pool))
	w.server = httptest.NewServer(p.Handler(80))
	t.Cleanup(func() {
		w.server.Close()
		w.client.Close()
		p.Close()
		wire.Close()
		if n := w.inFlight(); n != 0 {
			t.Errorf("%d requests are still booked", n)
		}
	})
	return w
}

func snapshotWith(pool *routing.Pool) *routing.Snapshot {
	rule := &routing.Rule{ID: "n/r/0", Backends: []routing.Backend{{Ref: pool.ID, Weight: 1, Pool: pool}}}
	rule.Seal()
	l := &routing.Listener{Gateway: "n/gw", Name: "http"}
	l.AddRoute("", &routing.Route{Match: routing.Match{PathType: routing.PathPrefix, Path: "/"}, Rule: rule, Object: "n/r"})
	l.SortRoutes()
	s := &routing.Snapshot{Ports: []*routing.Port{{Number: 80, Listeners: []*routing.Listener{l}}}, Pools: map[string]*routing.Pool{pool.ID: pool}}
	s.Arm(nil, rand.New(rand.NewPCG(1, 2)))
	return s
}

// patience bounds what a test waits for; nothing is expected to take near as long.
const patience = 20 * time.Second

func failOpen(p *routing.Pool, _ *extproc.Options) { p.Picker.FailOpen = true }

func (w *picked) inFlight() (n int) {
	for _, p := range w.scheduler.Stats() {
		for _, e := range p.Endpoints {
			n += e.InFlight
		}
	}
	return n
}

type seen struct {
	status  int
	header  http.Header
	trailer http.Header
	body    string
	err     error
	outcome llm.Outcome
}

// send sends a request; header fields are given as name and value in turn.
func (w *picked) send(method, path, body string, fields ...string) seen {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, method, w.server.URL+path, reader)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	resp, err := w.server.Client().Do(r)
	if err != nil {
		return seen{err: err, outcome: <-w.ended}
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return seen{resp.StatusCode, resp.Header, resp.Trailer, string(got), err, <-w.ended}
}

func (w *picked) complete(body string, fields ...string) seen {
	w.t.Helper()
	return w.send("POST", "/v1/completions", body, append([]string{"Content-Type", "application/json"}, fields...)...)
}

const prompt = `{"model":"m","prompt":"hello"}`

// echoEngine answers with its name, the request's header and body.
func echoEngine(t testing.TB, name string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Engine", name)
		w.Header().Set("X-Query", r.RequestURI)
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		for field := range r.Header {
			w.Header()["Seen-"+field] = r.Header[field]
		}
		if set := r.Header.Get("X-Echo-Set-Header"); set != "" {
			name, value, _ := strings.Cut(set, ":")
			w.Header().Set(name, value)
		}
		_, _ = w.Write(body)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func noListener(t testing.TB) string { return port.Address(t) }

func unchanged(s string) string { return s }

// eventually waits for something that another goroutine is about to do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
