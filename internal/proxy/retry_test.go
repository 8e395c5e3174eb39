package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"crossfade.dev/internal/llm"
)

// hangUp reads a request and closes the connection without a word.
func hangUp(c net.Conn) {
	if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		io.Copy(io.Discard, r.Body)
	}
}

// saying answers every request with a status.
func saying(status int, asked *atomic.Int32) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.WriteHeader(status)
	}
}

func TestAnotherEndpointBeforeTheFirstByte(t *testing.T) {
	cases := map[string]func(t *testing.T) string{
		"nobody listens": func(t *testing.T) string { return deadAddress(t) },
		"hangs up":       func(t *testing.T) string { return rawEngine(t, hangUp) },
		"is full":        func(t *testing.T) string { return engine(t, saying(503, new(atomic.Int32))) },
	}
	for name, first := range cases {
		t.Run(name, func(t *testing.T) {
			bad := first(t)
			w := newWorld(t, serving(to(pool("a", bad, engine(t, echoing("good"))))))
			e := echoed(t, w.post("/v1/completions", ` {"model":"m"}`))
			if e.Engine != "good" || e.Body != ` {"model":"m"}` {
				t.Errorf("engine is %q, got %q", e.Engine, e.Body)
			}
			v := w.last(1)
			hasReason(t, v, llm.ReasonOK)
			if v.Outcome.Retries != 1 || v.Outcome.Endpoint == bad {
				t.Errorf("outcome is %+v", v.Outcome)
			}
		})
	}
}

func TestTriesAreBounded(t *testing.T) {
	var asked atomic.Int32
	var addresses []string
	for range 5 {
		addresses = append(addresses, rawEngine(t, func(c net.Conn) {
			asked.Add(1)
			hangUp(c)
		}))
	}
	w := newWorld(t, serving(to(pool("a", addresses...))))
	isOpenAIError(t, w.post("/v1/completions", `{"model":"m"}`), 502, "without an answer")
	if asked.Load() != 3 {
		t.Errorf("%d endpoints were asked, want 3", asked.Load())
	}
	hasReason(t, w.last(1), llm.ReasonUpstreamReset)
}

func TestLastTryTells(t *testing.T) {
	w := newWorld(t, serving(to(pool("a", deadAddress(t)))))
	isOpenAIError(t, w.post("/v1/completions", `{"model":"m"}`), 502, "No connection")
	hasReason(t, w.last(1), llm.ReasonUpstreamConnect)
}

func TestLast503IsTheEngines(t *testing.T) {
	var asked atomic.Int32
	one, two := engine(t, saying(503, &asked)), engine(t, saying(503, &asked))
	w := newWorld(t, serving(to(pool("a", one, two))))
	a := w.post("/v1/completions", `{"model":"m"}`)
	if a.status != 503 || a.body != "" || asked.Load() != 2 {
		t.Errorf("answer is %d %q after %d tries", a.status, a.body, asked.Load())
	}
	hasReason(t, w.last(1), llm.ReasonUpstreamError)
}

func TestOtherAnswersAreNotRetried(t *testing.T) {
	for _, status := range []int{400, 404, 429, 500, 502, 504} {
		var asked atomic.Int32
		one, two := engine(t, saying(status, &asked)), engine(t, saying(status, &asked))
		w := newWorld(t, serving(to(pool("a", one, two))))
		if a := w.post("/v1/completions", `{"model":"m"}`); a.status != status || asked.Load() != 1 {
			t.Errorf("%d: answer is %d after %d tries", status, a.status, asked.Load())
		}
	}
}

func TestGarbageIsNotRetried(t *testing.T) {
	var asked atomic.Int32
	garbage := func(c net.Conn) {
		asked.Add(1)
		if r, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.Copy(io.Discard, r.Body)
		}
		io.WriteString(c, "SMTP ready\r\n\r\n")
	}
	w := newWorld(t, serving(to(pool("a", rawEngine(t, garbage), rawEngine(t, garbage)))))
	isOpenAIError(t, w.post("/v1/completions", `{"model":"m"}`), 502, "not HTTP")
	hasReason(t, w.last(1), llm.ReasonUpstreamInvalid)
	if asked.Load() != 1 {
		t.Errorf("%d tries", asked.Load())
	}
}

func TestServicesRepeatOnlyWhatIsSafe(t *testing.T) {
	cases := []struct {
		method string
		body   string
		first  func(t *testing.T) string
		status int
	}{
		{"GET", "", func(t *testing.T) string { return rawEngine(t, hangUp) }, 200},
		{"GET", "", func(t *testing.T) string { return engine(t, saying(503, new(atomic.Int32))) }, 503},
		{"POST", "", func(t *testing.T) string { return rawEngine(t, hangUp) }, 502},
		{"POST", "", func(t *testing.T) string { return deadAddress(t) }, 200},
		// A streamed body that nobody read yet can still be sent; one that was cannot.
		{"PUT", "x", func(t *testing.T) string { return deadAddress(t) }, 200},
		{"PUT", "x", func(t *testing.T) string { return rawEngine(t, hangUp) }, 502},
	}
	for _, c := range cases {
		w := newWorld(t, serving(to(service("a", c.first(t), engine(t, echoing("good"))))))
		var body io.Reader
		if c.body != "" {
			body = strings.NewReader(c.body)
		}
		if a := w.send(w.request(c.method, "/x", body)); a.status != c.status {
			t.Errorf("%s %q: answer is %d %s, want %d", c.method, c.body, a.status, a.body, c.status)
		}
		retries := 0
		if c.status == 200 {
			retries = 1
		}
		if got := w.last(1).Outcome.Retries; got != retries {
			t.Errorf("%s %q: %d retries, want %d", c.method, c.body, got, retries)
		}
	}
}
