package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/upstream"
)

// failing answers with status n times, then echoes.
func failing(status int, n int32, asked *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) <= n {
			w.WriteHeader(status)
			io.WriteString(w, "failed")
			return
		}
		echoing("recovered")(w, r)
	}
}

// retrying is a rule to one endpoint that is retried as r says.
func retrying(address string, r *routing.Retry) *routing.Rule {
	r.Backoff = time.Nanosecond
	rule := to(service("a", address))
	rule.Retry = r
	return rule
}

func TestRouteRetries(t *testing.T) {
	codes := []int{500, 503}
	cases := map[string]struct {
		retry  *routing.Retry
		method string
		status int   // of the failures
		fails  int32 // how often
		want   int
		asked  int32
	}{
		"recovers":                {&routing.Retry{Codes: codes, Attempts: 3}, "GET", 500, 2, 200, 3},
		"recovers at the last":    {&routing.Retry{Codes: codes, Attempts: 3}, "GET", 503, 3, 200, 4},
		"does not recover":        {&routing.Retry{Codes: codes, Attempts: 3}, "GET", 500, 4, 500, 4},
		"another status":          {&routing.Retry{Codes: []int{500}, Attempts: 3}, "GET", 503, 1, 503, 1},
		"the gateway's attempts":  {&routing.Retry{Codes: codes}, "GET", 500, 9, 500, 3},
		"POST, since it is asked": {&routing.Retry{Codes: codes, Attempts: 1}, "POST", 500, 1, 200, 2},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			w := newWorld(t, serving(retrying(engine(t, failing(c.status, c.fails, &asked)), c.retry)))
			a := w.send(w.request(c.method, "/", nil))
			if a.status != c.want || asked.Load() != c.asked {
				t.Errorf("answer is %d after %d tries, want %d after %d", a.status, asked.Load(), c.want, c.asked)
			}
			if c.want != 200 && a.body != "failed" {
				t.Errorf("the last answer did not pass: %q", a.body)
			}
			if got := w.last(1).Outcome.Retries; got != int(c.asked)-1 {
				t.Errorf("%d retries", got)
			}
		})
	}
}

func TestRouteRetriesBrokenConnections(t *testing.T) {
	var asked atomic.Int32
	flaky := engine(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			panic(http.ErrAbortHandler)
		}
		echoing("recovered")(w, r)
	})
	w := newWorld(t, serving(retrying(flaky, &routing.Retry{Attempts: 1})))
	if e := echoed(t, w.send(w.request("POST", "/", nil))); e.Engine != "recovered" {
		t.Errorf("engine is %q", e.Engine)
	}
}

// TestStreamedBodyIsNotRetried passes the first answer on, for the body is gone.
func TestStreamedBodyIsNotRetried(t *testing.T) {
	var asked atomic.Int32
	w := newWorld(t, serving(retrying(engine(t, failing(500, 1, &asked)), &routing.Retry{Codes: []int{500}, Attempts: 3})))
	if a := w.send(w.request("PUT", "/", strings.NewReader("x"))); a.status != 500 || asked.Load() != 1 {
		t.Errorf("answer is %d after %d tries", a.status, asked.Load())
	}
}

// TestRouteRetriesOverrideOurs leaves a 503 of model servers alone where the route
// names other statuses.
func TestRouteRetriesOverrideOurs(t *testing.T) {
	var asked atomic.Int32
	rule := to(pool("a", engine(t, saying(503, &asked)), engine(t, saying(503, &asked))))
	rule.Retry = &routing.Retry{Codes: []int{500}, Attempts: 3}
	w := newWorld(t, serving(rule))
	if a := w.post("/v1/completions", `{"model":"m"}`); a.status != 503 || asked.Load() != 1 {
		t.Errorf("answer is %d after %d tries", a.status, asked.Load())
	}
}

// TestRetriesTakeTurns asks every endpoint before it asks one again.
func TestRetriesTakeTurns(t *testing.T) {
	var one, two atomic.Int32
	rule := to(service("a", engine(t, saying(500, &one)), engine(t, saying(500, &two))))
	rule.Retry = &routing.Retry{Codes: []int{500}, Attempts: 3, Backoff: time.Nanosecond}
	w := newWorld(t, serving(rule))
	if a := w.get("/"); a.status != 500 || one.Load() != 2 || two.Load() != 2 {
		t.Errorf("answer is %d after %d and %d tries", a.status, one.Load(), two.Load())
	}
}

func TestRetryAfterTheRoutesLimitOnOneTry(t *testing.T) {
	var asked atomic.Int32
	slow := engine(t, func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) == 1 {
			<-r.Context().Done()
			return
		}
		echoing("recovered")(w, r)
	})
	rule := retrying(slow, &routing.Retry{Attempts: 20})
	rule.Timeouts.BackendRequest = 100 * time.Millisecond
	w := newWorld(t, serving(rule))
	if e := echoed(t, w.get("/")); e.Engine != "recovered" {
		t.Errorf("engine is %q", e.Engine)
	}
}

// TestBackoff measures the waits between tries in fake time.
func TestBackoff(t *testing.T) {
	cases := map[string]struct {
		backoff, timeout time.Duration
		waits            []time.Duration
		reason           string
	}{
		"doubles":          {time.Second, 0, []time.Duration{1, 2, 4, 8, 8}, llm.ReasonUpstreamConnect},
		"within the limit": {time.Minute, 90 * time.Second, []time.Duration{60}, llm.ReasonRequestTimeout},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var at []time.Time
				refused := &net.OpError{Op: "dial", Err: errors.New("refused")}
				nobody := upstream.New(upstream.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, refused }})
				defer nobody.Close()
				rule := to(service("a", "127.0.0.1:1"))
				rule.Retry = &routing.Retry{Attempts: 5, Backoff: c.backoff}
				rule.Timeouts.Request = c.timeout
				visits := &recorder{}
				p := New(Options{Upstream: nobody, Observer: visits, Picker: pickFunc(func(_ *scheduling.Call, pool *routing.Pool) (scheduling.Decision, error) {
					at = append(at, time.Now())
					return scheduling.Decision{Endpoint: pool.Endpoints[0]}, nil
				})})
				defer p.Close()
				p.Publish(serving(rule))
				p.Handler(80).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil))
				for i, want := range c.waits {
					if got := at[i+1].Sub(at[i]); got != want*time.Second {
						t.Errorf("wait %d is %s, want %s", i, got, want*time.Second)
					}
				}
				if len(at) != len(c.waits)+1 {
					t.Errorf("%d tries, want %d", len(at), len(c.waits)+1)
				}
				hasReason(t, visits.ended[0], c.reason)
			})
		})
	}
}
