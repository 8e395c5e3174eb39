package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// onPorts is serving(rule) on several ports.
func onPorts(rule *routing.Rule, numbers ...uint16) *routing.Snapshot {
	s := serving(rule)
	l := s.Ports[0].Listeners
	s.Ports = nil
	for _, n := range numbers {
		s.Ports = append(s.Ports, &routing.Port{Number: n, Listeners: l})
	}
	return s
}

func TestSyncOpensAndClosesPorts(t *testing.T) {
	rule := to(service("a", engine(t, echoing("a"))))
	w := newWorld(t, onPorts(rule, 80, 81))
	kept, closed := w.listeners.Addr(80), w.listeners.Addr(81)
	w.publish(onPorts(rule, 80, 82))
	if got := w.listeners.Addr(80); got != kept {
		t.Errorf("port 80 moved from %v to %v", kept, got)
	}
	if w.listeners.Addr(81) != nil || w.listeners.Addr(82) == nil {
		t.Error("ports 81 and 82 are not as asked")
	}
	if c, err := net.Dial("tcp", closed.String()); err == nil {
		c.Close()
		t.Error("port 81 still accepts")
	}
	resp, err := w.client.Get("http://" + w.listeners.Addr(82).String())
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("port 82: %+v, %v", resp, err)
	}
	resp.Body.Close()
}

func TestPortThatCannotBeBound(t *testing.T) {
	taken := errors.New("address in use")
	rule := to(service("a", engine(t, echoing("a"))))
	w := newWorld(t, serving(rule))
	fails := true
	w.listeners.options.Listen = func(ctx context.Context, network, address string) (net.Listener, error) {
		if fails && strings.HasSuffix(address, ":81") {
			return nil, taken
		}
		return anyPort(ctx, network, address)
	}
	s := onPorts(rule, 80, 81, 82)
	errs := w.listeners.Sync(t.Context(), s.Ports)
	if len(errs) != 1 || errs[0].Port != 81 || !errors.Is(errs[0], taken) || !strings.Contains(errs[0].Error(), "port 81") {
		t.Errorf("errors are %v", errs)
	}
	if w.listeners.Addr(80) == nil || w.listeners.Addr(82) == nil {
		t.Error("the other ports are not open")
	}
	fails = false
	if errs := w.listeners.Sync(t.Context(), s.Ports); len(errs) != 0 || w.listeners.Addr(81) == nil {
		t.Errorf("the second time: %v", errs)
	}
}

func TestClosedPortFinishesItsStreams(t *testing.T) {
	events := make(chan string)
	rule := to(pool("a", engine(t, sse(events))))
	w := newWorld(t, onPorts(rule, 80))
	resp := w.open(t.Context(), `{"model":"m"}`)
	w.publish(onPorts(rule, 81))
	events <- token("x")
	readExactly(t, resp.Body, token("x"))
	events <- done
	close(events)
	readExactly(t, resp.Body, done)
	hasReason(t, w.last(1), llm.ReasonOK)
}

// A connection that is open when the gateway leaves serves one more request, and
// the answer, good or bad, tells its client to use another one next.
func TestLeavingTellsClients(t *testing.T) {
	rule := to(service("a", engine(t, echoing("a"))))
	w := newWorld(t, snapshotOf(&routing.Listener{Gateway: "default/gw", Name: "http"}, route{prefix("/a"), rule}))
	ask := func(path string) (closing bool) {
		t.Helper()
		resp, err := w.client.Get(w.url(path))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		return resp.Close
	}
	if ask("/a") || ask("/nowhere") {
		t.Error("a connection closed for no reason")
	}
	w.listeners.Leave()
	for _, path := range []string{"/a", "/a", "/nowhere"} {
		if !ask(path) {
			t.Errorf("%s: the connection stays open", path)
		}
	}
}

func TestDrainWaitsForStreams(t *testing.T) {
	events := make(chan string)
	w := newWorld(t, serving(to(pool("a", engine(t, sse(events))))))
	resp := w.open(t.Context(), `{"model":"m"}`)
	address := w.listeners.Addr(80).String()
	left := make(chan int)
	go func() { left <- w.shutdown(patience) }()
	eventually(t, "new connections are refused", func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	events <- token("x")
	readExactly(t, resp.Body, token("x"))
	events <- done
	close(events)
	readExactly(t, resp.Body, done)
	if n := <-left; n != 0 {
		t.Errorf("%d were cut", n)
	}
	hasReason(t, w.last(1), llm.ReasonOK)
}

func TestDrainLimitTellsStreams(t *testing.T) {
	events := make(chan string)
	w := newWorld(t, serving(to(pool("a", engine(t, sse(events))))))
	resp := w.open(t.Context(), `{"model":"m"}`)
	events <- token("x")
	readExactly(t, resp.Body, token("x"))
	if n := w.shutdown(50 * time.Millisecond); n != 1 {
		t.Errorf("%d were cut", n)
	}
	body, err := io.ReadAll(resp.Body)
	if !strings.HasPrefix(string(body), `data: {"error"`) || !strings.Contains(string(body), "going down") || err != nil {
		t.Errorf("the stream ends with %q, %v", body, err)
	}
	hasReason(t, w.last(1), llm.ReasonDraining)
}

func TestH1AndH2OnOnePort(t *testing.T) {
	w := newWorld(t, serving(to(service("a", engine(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("X-Forwarded-Proto"))
	})))))
	h2c := &http.Transport{Protocols: &http.Protocols{}}
	h2c.Protocols.SetUnencryptedHTTP2(true)
	defer h2c.CloseIdleConnections()
	for proto, transport := range map[string]http.RoundTripper{"HTTP/2.0": h2c, "HTTP/1.1": w.client.Transport} {
		resp, err := transport.RoundTrip(w.request(http.MethodGet, "/", nil))
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.Proto != proto || string(body) != "http" {
			t.Errorf("%s: answer is %s %q", proto, resp.Proto, body)
		}
	}
}

func TestH2ClientStreamsAndLeaves(t *testing.T) {
	gone := make(chan bool)
	events := make(chan string)
	w := newWorld(t, serving(to(pool("a", engine(t, func(w http.ResponseWriter, r *http.Request) {
		sse(events)(w, r)
		close(gone)
	})))))
	h2c := &http.Transport{Protocols: &http.Protocols{}}
	h2c.Protocols.SetUnencryptedHTTP2(true)
	defer h2c.CloseIdleConnections()
	r := w.request(http.MethodPost, "/v1/chat/completions", strings.NewReader(`{"model":"m"}`))
	resp, err := h2c.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		events <- token("x")
		readExactly(t, resp.Body, token("x"))
	}
	resp.Body.Close()
	select {
	case <-gone:
	case <-time.After(patience):
		t.Fatal("the engine was not told")
	}
	hasReason(t, w.last(1), llm.ReasonClientClosed)
}

// Streams keep the snapshot they began with: 200 changes, of endpoints, weights,
// routes and ports, while streams run, break none of them.
func TestChangesUnderStreams(t *testing.T) {
	const streams, changes = 20, 200
	feeds := make(chan chan string, streams)
	address := engine(t, func(w http.ResponseWriter, r *http.Request) {
		events := make(chan string)
		feeds <- events
		sse(events)(w, r)
	})
	w := newWorld(t, serving(to(renaming(address))))
	var open []*http.Response
	var events []chan string
	for range streams {
		open = append(open, w.open(t.Context(), `{"model":"alias","stream":true}`))
		events = append(events, <-feeds)
	}
	r := rand.New(rand.NewPCG(3, 4))
	for i := range changes {
		next := to(pool(fmt.Sprint("p", i), deadAddress(t)))
		if i%3 == 0 {
			next = to()
		}
		s := onPorts(next, 80)
		if i%5 == 0 {
			s = onPorts(next, 80, uint16(1000+i))
		}
		w.publish(s)
		k := r.IntN(streams)
		events[k] <- token(fmt.Sprint(i))
		readExactly(t, open[k].Body, strings.Replace(token(fmt.Sprint(i)), "target", "alias", 1))
	}
	var all sync.WaitGroup
	for k := range streams {
		all.Go(func() {
			events[k] <- done
			close(events[k])
		})
		readExactly(t, open[k].Body, done)
		if rest, err := io.ReadAll(open[k].Body); len(rest) > 0 || err != nil {
			t.Errorf("stream %d ends with %q, %v", k, rest, err)
		}
	}
	all.Wait()
	for k := range streams {
		hasReason(t, w.last(k+1), llm.ReasonOK)
	}
}
