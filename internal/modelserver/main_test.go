package modelserver

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/upstream"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a set of model servers reached without a network, and what a Poller
// reports of them. It is made for synctest: time passes only in sleeps.
type world struct {
	t       *testing.T
	poller  *Poller
	client  *upstream.Client
	stop    context.CancelFunc
	stopped chan error
	start   time.Time

	answering sync.WaitGroup

	mu      sync.Mutex
	servers map[string]http.HandlerFunc // an address that lacks one refuses connections
	asked   map[string][]time.Duration  // by address and path: when, since start
	models  map[string][][]string       // by address, every report
	metrics map[string][]scheduling.Metrics
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, start: time.Now(), stopped: make(chan error, 1),
		servers: map[string]http.HandlerFunc{}, asked: map[string][]time.Duration{},
		models: map[string][][]string{}, metrics: map[string][]scheduling.Metrics{},
	}
	w.client = upstream.New(upstream.Options{Dial: w.dial})
	w.poller = New(Options{
		Client: w.client,
		OnMetrics: func(address string, m scheduling.Metrics) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.metrics[address] = append(w.metrics[address], m)
		},
		OnModels: func(address string, models []string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.models[address] = append(w.models[address], models)
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	w.stop = stop
	go func() { w.stopped <- w.poller.Run(ctx) }()
	return w
}

// end stops the poller; it must return at once.
func (w *world) end() {
	w.stop()
	select {
	case err := <-w.stopped:
		if err != nil {
			w.t.Error(err)
		}
	case <-time.After(time.Second):
		w.t.Error("Run does not end")
	}
	w.client.Close()
	w.answering.Wait()
}

func (w *world) serve(address string, h http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers[address] = h
}

func (w *world) handler(address string) http.HandlerFunc {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.servers[address]
}

func (w *world) dial(_ context.Context, _, address string) (net.Conn, error) {
	if w.handler(address) == nil {
		w.note(address, "dial")
		return nil, errors.New("connection refused")
	}
	client, server := net.Pipe()
	w.answering.Go(func() { w.answer(address, server) })
	return client, nil
}

func (w *world) note(address, what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := address + " " + what
	w.asked[key] = append(w.asked[key], time.Since(w.start))
}

// answer serves one connection until it or its server is gone.
func (w *world) answer(address string, conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return
		}
		h := w.handler(address)
		if h == nil {
			return
		}
		w.note(address, req.URL.Path)
		rec := httptest.NewRecorder()
		h(rec, req)
		resp := rec.Result()
		body, _ := io.ReadAll(resp.Body)
		resp.ContentLength, resp.Body = int64(len(body)), io.NopCloser(bytes.NewReader(body))
		if resp.Write(conn) != nil {
			return
		}
	}
}

// reported returns every report of an endpoint's models.
func (w *world) reported(address string) [][]string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.models[address])
}

func (w *world) scraped(address string) []scheduling.Metrics {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.metrics[address])
}

// times returns when an endpoint was asked for something.
func (w *world) times(address, what string) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.asked[address+" "+what])
}

// engine is a healthy vLLM with the given list of models.
func engine(models string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/metrics":
			_, _ = io.WriteString(rw, "vllm:num_requests_running 2\nvllm:num_requests_waiting 1\n")
		case "/v1/models":
			_, _ = io.WriteString(rw, models)
		default:
			rw.WriteHeader(http.StatusNotFound)
		}
	}
}

const (
	baseOnly    = `{"data":[{"id":"base"}]}`
	withAdapter = `{"data":[{"id":"travel","parent":"base"},{"id":"base"}]}`
)
