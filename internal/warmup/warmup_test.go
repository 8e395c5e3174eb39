package warmup

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/tally"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a model server that notes what it is asked.
type server struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string // "path model words"
}

// newServer returns a server whose answers have the status that answer returns.
func newServer(t *testing.T, answer func(path string, prompt int) int) *server {
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Model, Prompt string
			Messages      []struct{ Content string }
		}
		data, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(data, &body) != nil || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		text := body.Prompt
		for _, m := range body.Messages {
			text += m.Content
		}
		words := len(strings.Fields(text))
		s.mu.Lock()
		s.asked = append(s.asked, fmt.Sprintf("%s %s %d", r.URL.Path, body.Model, words))
		s.mu.Unlock()
		w.WriteHeader(answer(r.URL.Path, words))
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) address() string { return strings.TrimPrefix(s.URL, "http://") }

// requests returns what the server was asked so far.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func always(status int) func(string, int) int { return func(string, int) int { return status } }

// splitOver asks to warm up the model v2 of a pool with these endpoints.
func splitOver(w *routing.Warmup, addresses ...string) tally.Split {
	pool := &routing.Pool{ID: "p", Inference: true}
	for _, a := range addresses {
		pool.Endpoints = append(pool.Endpoints, routing.Endpoint{Address: a})
	}
	a := &routing.Assignment{Rollout: "llm/chat", Attempt: 3, Warmup: w}
	return tally.Split{Assignment: a, Stable: pool, Candidate: pool, StableModel: "v1", CandidateModel: "v2"}
}

// start runs a Runner until the test ends.
func start(t *testing.T, opts Options) *Runner {
	r := New(opts)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return r
}

// until waits for a condition that a goroutine brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("never: " + what)
		}
	}
}

func (r *Runner) isWarm(n int) func() bool {
	return func() bool {
		good, steady := r.Warm("llm/chat", 3)
		for _, g := range good {
			steady = steady && g >= n
		}
		return steady && len(good) > 0
	}
}

func TestWarmsEveryEndpoint(t *testing.T) {
	a, b := newServer(t, always(200)), newServer(t, always(200))
	r := start(t, Options{})
	if good, _ := r.Warm("llm/chat", 3); good != nil {
		t.Errorf("before anything is asked: %v", good)
	}
	r.Set([]tally.Split{splitOver(&routing.Warmup{Requests: 5}, a.address(), b.address())})
	until(t, "warm", r.isWarm(5))
	for _, s := range []*server{a, b} {
		got := s.requests()
		for i, want := range lengths {
			if !strings.HasPrefix(got[i], chatPath+" v2 ") || !strings.HasSuffix(got[i], fmt.Sprint(" ", want+8)) {
				t.Errorf("request %d: %s, want %d words", i, got[i], want+8)
			}
		}
	}
	if good, _ := r.Warm("llm/chat", 2); good != nil {
		t.Errorf("another attempt: %v", good)
	}
	r.Set(nil)
	if good, _ := r.Warm("llm/chat", 3); good != nil {
		t.Errorf("after it was no longer asked for: %v", good)
	}
}

func TestFallsBackToCompletions(t *testing.T) {
	s := newServer(t, func(path string, words int) int {
		switch {
		case path == chatPath:
			return 400 // no chat template
		case words > 1000:
			return 400 // longer than its context
		}
		return 200
	})
	r := start(t, Options{})
	r.Set([]tally.Split{splitOver(&routing.Warmup{Requests: 2}, s.address())})
	until(t, "warm", r.isWarm(2))
	for i, got := range s.requests() {
		if i > 0 && !strings.HasPrefix(got, completionsPath+" v2 ") {
			t.Errorf("request %d: %s", i, got)
		}
	}
}

func TestOwnRequests(t *testing.T) {
	s := newServer(t, always(200))
	r := start(t, Options{})
	r.Set([]tally.Split{splitOver(&routing.Warmup{Requests: 3, Probes: []routing.Probe{
		{Body: `{"model": "chat", "prompt": "a b"}`}, {Path: "/v1/embeddings", Body: ` {"prompt":"c"}`}, {Path: "/v1/empty", Body: `{ }`},
	}}, s.address())})
	until(t, "warm", r.isWarm(3))
	want := []string{"/v1/chat/completions v2 2", "/v1/embeddings v2 1", "/v1/empty v2 0"}
	for i, got := range s.requests() {
		if got != want[i%3] {
			t.Errorf("request %d: %s, want %s", i, got, want[i%3])
		}
	}
}

// TestFailures shows that an endpoint that fails is not warm, is asked again, and is
// told of once.
func TestFailures(t *testing.T) {
	var status atomic.Int64
	status.Store(503)
	s := newServer(t, func(string, int) int { return int(status.Load()) })
	var lines counter
	r := start(t, Options{Logger: slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	r.Set([]tally.Split{splitOver(&routing.Warmup{Requests: 1}, s.address())})
	until(t, "asked twice", func() bool { return len(s.requests()) >= 2 })
	if good, steady := r.Warm("llm/chat", 3); good[s.address()] != 0 || steady {
		t.Errorf("warm though it fails: %v %v", good, steady)
	}
	if n := lines.Load(); n != 1 {
		t.Errorf("%d lines of log, want 1", n)
	}
	status.Store(200)
	until(t, "warm", r.isWarm(1))
}

// counter counts what is written.
type counter struct{ atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) { c.Add(1); return len(p), nil }

// TestStops shows that a request under way ends with the wish for it.
func TestStops(t *testing.T) {
	begun, ended := make(chan struct{}), make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(begun)
		<-r.Context().Done()
		close(ended)
	}))
	t.Cleanup(s.Close)
	r := start(t, Options{})
	r.Set([]tally.Split{splitOver(&routing.Warmup{Requests: 1}, strings.TrimPrefix(s.URL, "http://"))})
	<-begun
	r.Set(nil)
	<-ended
}

// TestWaitsForTheModel shows that endpoints which lack the model are not asked before
// they have it.
func TestWaitsForTheModel(t *testing.T) {
	s := newServer(t, always(200))
	r := start(t, Options{})
	split := splitOver(&routing.Warmup{Requests: 1}, s.address())
	split.Candidate.Endpoints[0].Models = []string{"v1"}
	r.Set([]tally.Split{split})
	if good, steady := r.Warm("llm/chat", 3); len(good) != 1 || steady || len(s.requests()) > 0 {
		t.Errorf("before: %v %v, asked %v", good, steady, s.requests())
	}
	r.Set([]tally.Split{splitOver(&routing.Warmup{Requests: 1}, s.address())})
	until(t, "warm", r.isWarm(1))
}

// TestMoreAreWanted shows that a plan which asks for more gets more.
func TestMoreAreWanted(t *testing.T) {
	s := newServer(t, always(200))
	r := start(t, Options{})
	for _, n := range []int{1, 40} {
		r.Set([]tally.Split{splitOver(&routing.Warmup{Requests: n}, s.address())})
		until(t, "warm", r.isWarm(n))
	}
}

func TestNotWarmable(t *testing.T) {
	r := start(t, Options{})
	service := splitOver(&routing.Warmup{Requests: 7}, "127.0.0.1:1")
	service.Candidate.Inference, service.CandidateModel = false, ""
	r.Set([]tally.Split{service})
	until(t, "taken for warm", r.isWarm(7))

	h2c := splitOver(&routing.Warmup{Requests: 7}, "127.0.0.1:1")
	h2c.Candidate.Protocol = routing.H2C
	o := order{pool: h2c.Candidate, model: "v2"}
	if err := r.once(t.Context(), &o, "127.0.0.1:1", newCourse()); err == nil || !strings.Contains(err.Error(), "HTTP/2") {
		t.Errorf("h2c without a transport: %v", err)
	}
}

func TestSteady(t *testing.T) {
	const ms = time.Millisecond
	for name, c := range map[string]struct {
		took  []time.Duration // of one request, again and again
		after int             // answers until it is steady
	}{
		"always the same": {[]time.Duration{50 * ms}, 4},
		"slow at first":   {[]time.Duration{900 * ms, 300 * ms, 100 * ms, 50 * ms}, 7},
		"ever faster":     {[]time.Duration{90000 * ms, 45000 * ms, 20000 * ms, 10000 * ms, 5000 * ms, 2500 * ms, 1200 * ms, 600 * ms, 300 * ms, 150 * ms, 70 * ms, 35 * ms, 17 * ms, 8 * ms, 4 * ms, 2 * ms, ms, ms / 2, ms / 4, ms / 8, ms / 16, ms / 32, ms / 64, ms / 128}, 21},
	} {
		w := newCourse()
		n := 0
		for ; n < 100 && !w.steady(1); n++ {
			w.answered(c.took[min(n, len(c.took)-1)], 1)
		}
		if n != c.after {
			t.Errorf("%s: steady after %d answers, want %d", name, n, c.after)
		}
	}
}

func TestModelOf(t *testing.T) {
	rule := routing.NewModelRule("InferenceModel llm/chat", "chat", []routing.Target{{Model: "old"}, {Model: "qwen3", Weight: 1}}, true, 0)
	for name, c := range map[string]struct {
		order order
		asked string
		want  string
	}{
		"a side that is a model":    {order{pool: &routing.Pool{Inference: true}, model: "v2"}, "chat", "v2"},
		"a name with a rule":        {order{pool: &routing.Pool{Inference: true, Rules: map[string]*routing.ModelRule{"chat": rule}}}, "chat", "qwen3"},
		"a name that is unknown":    {order{pool: &routing.Pool{Inference: true, Models: []string{"a", "b"}, ModelsKnown: true}}, "c", "a"},
		"a name that is reported":   {order{pool: &routing.Pool{Inference: true, Models: []string{"a", "b"}, ModelsKnown: true}}, "b", "b"},
		"no name, nothing known":    {order{pool: &routing.Pool{Inference: true}}, "", ""},
		"no inference pool":         {order{pool: &routing.Pool{}}, "x", "x"},
		"no name, a rule is enough": {order{pool: &routing.Pool{Inference: true, Rules: map[string]*routing.ModelRule{"chat": rule}}}, "", "qwen3"},
	} {
		if got := c.order.modelOf(c.asked); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
