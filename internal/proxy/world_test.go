package proxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/upstream"
	"crossfade.dev/test/port"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what a test waits for; nothing is expected to take near as long.
const patience = 20 * time.Second

var noDeadline time.Time

// world is a proxy behind real listeners, with engines that tests make up.
type world struct {
	t         testing.TB
	proxy     *Proxy
	listeners *Listeners
	visits    *recorder
	client    *http.Client
	stopped   bool
}

// newWorld starts a proxy on port 80, by its own reckoning, that serves s.
func newWorld(t testing.TB, s *routing.Snapshot, change ...func(*Options)) *world {
	t.Helper()
	visits := &recorder{}
	wire := upstream.New(upstream.Options{})
	o := Options{
		Picker:   inOrder{},
		Upstream: wire,
		Observer: visits,
		Logger:   slog.New(slog.NewTextHandler(testLog{t}, nil)),
	}
	for _, c := range change {
		c(&o)
	}
	w := &world{t: t, proxy: New(o), visits: visits}
	w.listeners = NewListeners(w.proxy, ListenerOptions{Listen: anyPort})
	w.client = &http.Client{
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 100},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       patience,
	}
	w.publish(s)
	t.Cleanup(func() {
		w.client.CloseIdleConnections()
		w.shutdown(patience)
		w.proxy.Close()
		wire.Close()
	})
	return w
}

func anyPort(ctx context.Context, network, _ string) (net.Listener, error) {
	return new(net.ListenConfig).Listen(ctx, network, "127.0.0.1:0")
}

func (w *world) publish(s *routing.Snapshot) {
	w.t.Helper()
	w.proxy.Publish(s)
	if errs := w.listeners.Sync(w.t.Context(), s.Ports); len(errs) > 0 {
		w.t.Fatal(errs)
	}
}

func (w *world) shutdown(limit time.Duration) int {
	if w.stopped {
		return 0
	}
	w.stopped = true
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return w.listeners.Shutdown(ctx)
}

func (w *world) url(path string) string { return "http://" + w.listeners.Addr(80).String() + path }

func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.listeners.Addr(80).String())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return c
}

// answer is what a client sees.
type answerSeen struct {
	status int
	header http.Header
	body   string
	err    error // of reading the body
}

// post sends body as JSON.
func (w *world) post(path, body string, header ...string) answerSeen {
	w.t.Helper()
	r := w.request(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return w.send(r, header...)
}

func (w *world) get(path string, header ...string) answerSeen {
	w.t.Helper()
	return w.send(w.request(http.MethodGet, path, nil), header...)
}

func (w *world) request(method, path string, body io.Reader) *http.Request {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.url(path), body)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

// send sends r with further header fields, given as name and value in turn.
func (w *world) send(r *http.Request, header ...string) answerSeen {
	w.t.Helper()
	for i := 0; i < len(header); i += 2 {
		if header[i] == "Host" {
			r.Host = header[i+1]
			continue
		}
		r.Header.Add(header[i], header[i+1])
	}
	resp, err := w.client.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answerSeen{resp.StatusCode, resp.Header, string(body), err}
}

// recorder is an Observer that keeps what it is told.
type recorder struct {
	mu    sync.Mutex
	begun int
	gaps  int
	ended []Visit
}

func (o *recorder) Begin(*Visit) { o.mu.Lock(); defer o.mu.Unlock(); o.begun++ }

func (o *recorder) Gap(*Visit, time.Duration) { o.mu.Lock(); defer o.mu.Unlock(); o.gaps++ }

func (o *recorder) End(v *Visit) {
	o.mu.Lock()
	defer o.mu.Unlock()
	kept := *v
	kept.Request = nil
	o.ended = append(o.ended, kept)
}

// last waits until n visits have ended and returns the last of them.
func (w *world) last(n int) Visit {
	w.t.Helper()
	var v Visit
	eventually(w.t, fmt.Sprintf("%d visits end", n), func() bool {
		w.visits.mu.Lock()
		defer w.visits.mu.Unlock()
		if len(w.visits.ended) < n {
			return false
		}
		v = w.visits.ended[n-1]
		return true
	})
	return v
}

// eventually waits for something that another goroutine is about to do.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// inOrder picks the first endpoint that has not been tried, or the one chosen.
type inOrder struct{}

func (inOrder) Pick(_ context.Context, call *scheduling.Call, pool *routing.Pool) (scheduling.Decision, error) {
	for _, e := range pool.Endpoints {
		if !slices.Contains(call.Tried, e.Address) && (call.Chosen == "" || call.Chosen == e.Address) {
			return scheduling.Decision{Endpoint: e}, nil
		}
	}
	return scheduling.Decision{}, scheduling.ErrExhausted
}

// pickFunc is an EndpointPicker.
type pickFunc func(call *scheduling.Call, pool *routing.Pool) (scheduling.Decision, error)

func (f pickFunc) Pick(_ context.Context, call *scheduling.Call, pool *routing.Pool) (scheduling.Decision, error) {
	return f(call, pool)
}

type testLog struct{ t testing.TB }

func (l testLog) Write(p []byte) (int, error) {
	l.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// engine starts a model server and returns its address.
func engine(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// deadAddress is one where nobody listens.
func deadAddress(t testing.TB) string { return port.Address(t) }

// rawEngine starts a server that gives each connection to serve, which may write
// what no HTTP library would.
func rawEngine(t testing.TB, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				c.SetDeadline(time.Now().Add(patience))
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// Parts of snapshots.

func pool(name string, addresses ...string) *routing.Pool {
	p := &routing.Pool{ID: "InferencePool/default/" + name, Kind: "InferencePool", Name: "default/" + name, Inference: true}
	for _, a := range addresses {
		p.Endpoints = append(p.Endpoints, routing.Endpoint{Address: a})
	}
	return p
}

func service(name string, addresses ...string) *routing.Pool {
	p := pool(name, addresses...)
	p.ID, p.Kind, p.Inference = "Service/default/"+name, "Service", false
	return p
}

func to(pools ...*routing.Pool) *routing.Rule {
	r := &routing.Rule{ID: "default/route/0"}
	for _, p := range pools {
		r.Backends = append(r.Backends, routing.Backend{Ref: p.ID, Weight: 1, Pool: p})
	}
	return r
}

func prefix(path string) routing.Match {
	return routing.Match{PathType: routing.PathPrefix, Path: path}
}

// serving is a snapshot with one listener whose every request follows rule.
func serving(rule *routing.Rule) *routing.Snapshot {
	return snapshotOf(&routing.Listener{Gateway: "default/gw", Name: "http"}, route{prefix("/"), rule})
}

type route struct {
	match routing.Match
	rule  *routing.Rule
}

func snapshotOf(l *routing.Listener, routes ...route) *routing.Snapshot {
	for i, r := range routes {
		r.rule.Seal()
		l.AddRoute("", &routing.Route{Match: r.match, Rule: r.rule, Object: "default/route", Order: i})
	}
	l.SortRoutes()
	s := &routing.Snapshot{
		Ports: []*routing.Port{{Number: 80, Listeners: []*routing.Listener{l}}},
		Pools: map[string]*routing.Pool{},
	}
	for _, r := range routes {
		for i := range r.rule.Backends {
			if p := r.rule.Backends[i].Pool; p != nil {
				s.Pools[p.ID] = p
			}
		}
	}
	s.Arm(nil, rand.New(rand.NewPCG(1, 2)))
	return s
}

// isOpenAIError fails unless the answer is an error in OpenAI's shape with the
// given status and a message that contains text.
func isOpenAIError(t testing.TB, a answerSeen, status int, text string) {
	t.Helper()
	if a.status != status || !strings.HasPrefix(a.body, `{"error":{"message":`) || !strings.Contains(a.body, text) {
		t.Errorf("answer is %d %s\nwant %d with an OpenAI error about %q", a.status, a.body, status, text)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
}

// hasReason fails unless the visit ended for the reason.
func hasReason(t testing.TB, v Visit, reason string) {
	t.Helper()
	if v.Outcome.Reason != reason {
		t.Errorf("reason is %q, want %q", v.Outcome.Reason, reason)
	}
	if !slices.Contains(llm.Reasons(), v.Outcome.Reason) {
		t.Errorf("reason %q is not one of llm's", v.Outcome.Reason)
	}
}
