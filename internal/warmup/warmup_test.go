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
	"testing/synctest"
	"time"

	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/tally"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a model server that notes what it is asked. It is an http.RoundTripper for
// tests in which time is not real, and an http.Handler for one in which it is.
type server struct {
	answer func(path string, words int) int // returns a status

	mu    sync.Mutex
	asked []string // "endpoint path model words"
}

func (s *server) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result(), nil
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Model, Prompt string
		Messages      []struct{ Content string }
	}
	data, err := io.ReadAll(r.Body)
	if err != nil || json.Unmarshal(data, &body) != nil || r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" {
		w.WriteHeader(http.StatusTeapot)
		return
	}
	text := body.Prompt
	for _, m := range body.Messages {
		text += m.Content
	}
	words := len(strings.Fields(text))
	s.mu.Lock()
	s.asked = append(s.asked, fmt.Sprintf("%s%s %s %d", r.Host, r.URL.Path, body.Model, words))
	s.mu.Unlock()
	w.WriteHeader(s.answer(r.URL.Path, words))
}

// requests returns what the server was asked so far.
func (s *server) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.asked...)
}

func always(status int) *server { return &server{answer: func(string, int) int { return status }} }

// splitOver asks to warm up the model v2 of a pool with these endpoints. It is not
// spoken to over plain HTTP/1.1, so that a test can put itself in the way.
func splitOver(w *routing.Warmup, addresses ...string) tally.Split {
	pool := &routing.Pool{ID: "p", Inference: true, Protocol: routing.H2C}
	for _, a := range addresses {
		pool.Endpoints = append(pool.Endpoints, routing.Endpoint{Address: a})
	}
	a := &routing.Assignment{Rollout: "llm/chat", Attempt: 3, Warmup: w}
	return tally.Split{Assignment: a, Stable: pool, Candidate: pool, StableModel: "v1", CandidateModel: "v2"}
}

// start runs a Runner until the test ends, with s in place of all endpoints.
func start(t *testing.T, s http.RoundTripper, log *slog.Logger) *Runner {
	r := New(Options{Transport: func(*routing.Pool, *routing.Identity) http.RoundTripper { return s }, Logger: log})
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

// set sets what is asked for, and waits until all is done or waits for something.
func (r *Runner) set(splits ...tally.Split) {
	r.Set(splits)
	synctest.Wait()
}

// wants checks that every endpoint is warm after at least n requests, or none.
func (r *Runner) wants(t *testing.T, endpoints, n int, warm bool) {
	t.Helper()
	good, steady := r.Warm("llm/chat", 3)
	if len(good) != endpoints || steady != warm {
		t.Fatalf("warm: %v, steady %v; want %d endpoints, steady %v", good, steady, endpoints, warm)
	}
	for e, g := range good {
		if g < n || !warm && g > 0 {
			t.Errorf("%s has answered %d, want %d", e, g, n)
		}
	}
}

func TestWarmsEveryEndpoint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := always(200)
		r := start(t, s, nil)
		if good, _ := r.Warm("llm/chat", 3); good != nil {
			t.Errorf("before anything is asked: %v", good)
		}
		r.set(splitOver(&routing.Warmup{Requests: 5}, "a:1", "b:1"))
		r.wants(t, 2, 5, true)
		for _, endpoint := range []string{"a:1", "b:1"} {
			var own []string
			for _, q := range s.requests() {
				if strings.HasPrefix(q, endpoint) {
					own = append(own, q)
				}
			}
			for i, length := range lengths {
				if want := fmt.Sprintf("%s%s v2 %d", endpoint, chatPath, length+8); own[i] != want {
					t.Errorf("request %d: %s, want %s", i, own[i], want)
				}
			}
		}
		if good, _ := r.Warm("llm/chat", 2); good != nil {
			t.Errorf("another attempt: %v", good)
		}
		r.set()
		if good, _ := r.Warm("llm/chat", 3); good != nil {
			t.Errorf("after it was no longer asked for: %v", good)
		}
	})
}

// deaf answers requests to some hosts never, and the rest well.
type deaf struct{ hosts string }

func (h deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.Contains(h.hosts, r.URL.Host) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return always(200).RoundTrip(r)
}

// TestHungCandidateHoldsUpNoOther shows that a rollout warms up while all that another
// one may have under way hangs.
func TestHungCandidateHoldsUpNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := splitOver(&routing.Warmup{Requests: 5}, "h1:1", "h2:1", "h3:1", "h4:1", "h5:1")
		bad.Assignment.Rollout = "llm/hung"
		r := start(t, deaf{"h1:1 h2:1 h3:1 h4:1 h5:1"}, nil)
		r.set(bad)
		r.set(bad, splitOver(&routing.Warmup{Requests: 5}, "a:1"))
		r.wants(t, 1, 5, true)
	})
}

// TestPlainHTTP speaks to a real server.
func TestPlainHTTP(t *testing.T) {
	s := always(200)
	web := httptest.NewServer(s)
	defer web.Close()
	r := New(Options{})
	defer r.plain.CloseIdleConnections()
	o := order{requests: 1, pool: &routing.Pool{Inference: true}, model: "v2", slots: make(chan struct{}, 1)}
	c := newCourse()
	for i := range lengths {
		if err := r.once(t.Context(), &o, strings.TrimPrefix(web.URL, "http://"), c); err != nil || c.good != i+1 {
			t.Errorf("request %d: %v, %d answered", i, err, c.good)
		}
	}
}

func TestFallsBackToCompletions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: func(path string, words int) int {
			if path == chatPath || words > 1000 {
				return 400 // no chat template, and a short context
			}
			return 200
		}}
		r := start(t, s, nil)
		r.set(splitOver(&routing.Warmup{Requests: 2}, "a:1"))
		r.wants(t, 1, 2, true)
		for i, got := range s.requests() {
			if i > 0 && !strings.HasPrefix(got, "a:1"+completionsPath+" v2 ") {
				t.Errorf("request %d: %s", i, got)
			}
		}
	})
}

func TestOwnRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := always(200)
		r := start(t, s, nil)
		r.set(splitOver(&routing.Warmup{Requests: 3, Probes: []routing.Probe{
			{Body: `{"model": "chat", "prompt": "a b"}`}, {Path: "/v1/embeddings", Body: ` {"prompt":"c"}`}, {Path: "/v1/empty", Body: `{ }`},
		}}, "a:1"))
		r.wants(t, 1, 3, true)
		want := []string{"a:1/v1/chat/completions v2 2", "a:1/v1/embeddings v2 1", "a:1/v1/empty v2 0"}
		for i, got := range s.requests() {
			if got != want[i%3] {
				t.Errorf("request %d: %s, want %s", i, got, want[i%3])
			}
		}
	})
}

// TestBadRequestOfTheUser shows that one request that cannot be sent, and one that is
// refused, do not keep the others from being sent.
func TestBadRequestOfTheUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &server{answer: func(path string, _ int) int {
			if path == "/no" {
				return 404
			}
			return 200
		}}
		r := start(t, s, nil)
		r.set(splitOver(&routing.Warmup{Requests: 3, Probes: []routing.Probe{{Path: "/no", Body: `{}`}, {Body: `no JSON`}, {Body: `{}`}}}, "a:1"))
		time.Sleep(20 * time.Minute)
		r.wants(t, 1, 3, true)
	})
}

// TestFailures shows that an endpoint that fails is not warm, is asked again ever
// less often, and is told of once.
func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		s := &server{answer: func(string, int) int {
			if down.Load() {
				return 503
			}
			return 200
		}}
		var lines counter
		r := start(t, s, slog.New(slog.NewTextHandler(&lines, &slog.HandlerOptions{Level: slog.LevelWarn})))
		r.set(splitOver(&routing.Warmup{Requests: 1}, "a:1"))
		time.Sleep(firstPause + time.Second/2)
		r.wants(t, 1, 0, false)
		if n := len(s.requests()); n != 2 || lines.Load() != 1 {
			t.Errorf("asked %d times, %d lines of log; want 2 and 1", n, lines.Load())
		}
		time.Sleep(time.Hour)
		if n := len(s.requests()); n > 130 || lines.Load() != 1 {
			t.Errorf("asked %d times in an hour, %d lines of log", n, lines.Load())
		}
		down.Store(false)
		time.Sleep(lastPause)
		synctest.Wait()
		r.wants(t, 1, 1, true)
	})
}

// counter counts what is written.
type counter struct{ atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) { c.Add(1); return len(p), nil }

// hanging never answers.
type hanging struct{ begun, ended atomic.Int64 }

func (h *hanging) RoundTrip(r *http.Request) (*http.Response, error) {
	h.begun.Add(1)
	<-r.Context().Done()
	h.ended.Add(1)
	return nil, r.Context().Err()
}

// TestStops shows that a request under way ends with the wish for it, and that few
// are under way at once.
func TestStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hanging
		r := start(t, &h, nil)
		r.set(splitOver(&routing.Warmup{Requests: 1}, "a:1", "b:1", "c:1", "d:1", "e:1", "f:1"))
		if n := h.begun.Load(); n != atOnce || h.ended.Load() != 0 {
			t.Errorf("%d requests are under way, want %d", n, atOnce)
		}
		r.set()
		if n := h.ended.Load(); n != h.begun.Load() {
			t.Errorf("%d of %d requests have ended", n, h.begun.Load())
		}
	})
}

// TestGivesUp shows that an answer is not waited for without end.
func TestGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h hanging
		r := start(t, &h, nil)
		r.set(splitOver(&routing.Warmup{Requests: 1}, "a:1"))
		time.Sleep(patience + firstPause + time.Second)
		if h.ended.Load() != 1 || h.begun.Load() != 2 {
			t.Errorf("%d requests begun, %d ended; want 2 and 1", h.begun.Load(), h.ended.Load())
		}
	})
}

// TestWaitsForTheModel shows that endpoints which lack the model are not asked before
// they have it.
func TestWaitsForTheModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := always(200)
		r := start(t, s, nil)
		split := splitOver(&routing.Warmup{Requests: 1}, "a:1")
		split.Candidate.Endpoints[0].Models = []string{"v1"}
		r.set(split)
		r.wants(t, 1, 0, false)
		if n := len(s.requests()); n > 0 {
			t.Errorf("asked %d times", n)
		}
		r.set(splitOver(&routing.Warmup{Requests: 1}, "a:1"))
		r.wants(t, 1, 1, true)
	})
}

// TestMoreAreWanted shows that a plan which asks for more gets more.
func TestMoreAreWanted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, always(200), nil)
		for _, n := range []int{1, 40} {
			r.set(splitOver(&routing.Warmup{Requests: n}, "a:1"))
			r.wants(t, 1, n, true)
		}
	})
}

// TestAskedForAgain shows that a wish that went away for a moment is a new one.
func TestAskedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, always(200), nil)
		split := splitOver(&routing.Warmup{Requests: 2}, "a:1")
		r.set(split)
		r.Set(nil)
		r.set(split)
		r.wants(t, 1, 2, true)
	})
}

// TestNothingToWarmUp shows what becomes of endpoints that nothing can be sent to.
func TestNothingToWarmUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, always(500), nil)
		service := splitOver(&routing.Warmup{Requests: 7}, "a:1")
		service.Candidate.Inference, service.CandidateModel = false, ""
		r.set(service)
		r.wants(t, 1, 7, true)
	})
	o := order{pool: &routing.Pool{Inference: true, Protocol: routing.H2C}, model: "v2", slots: make(chan struct{}, 1)}
	if err := New(Options{}).once(t.Context(), &o, "127.0.0.1:1", newCourse()); err == nil || !strings.Contains(err.Error(), "HTTP/2") {
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
			w.answered(0, c.took[min(n, len(c.took)-1)])
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
