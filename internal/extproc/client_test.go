package extproc

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"crossfade.dev/internal/extproc/epptest"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

const chosen = "10.0.0.1:8000"

// newTestClient returns a client, and a pool with pickers at the addresses.
func newTestClient(t *testing.T, o Options, pickers ...string) (*Client, *routing.Pool) {
	t.Helper()
	pool := testPool(chosen, "10.0.0.2:8000")
	pool.Picker.Endpoints = pickers
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := New(o)
	t.Cleanup(c.Close)
	return c, pool
}

func head() http.Header {
	return http.Header{":method": {"GET"}, ":path": {"/"}, ":scheme": {"http"}, ":authority": {"h"}}
}

// choose runs the first phase of a call and leaves.
func choose(t *testing.T, c *Client, pool *routing.Pool) ([]string, error) {
	t.Helper()
	call := c.Begin(t.Context(), pool)
	defer call.Close()
	endpoints, _, err := call.Choose(head(), nil)
	return endpoints, err
}

func (c *Client) connected() int {
	c.connections.mu.Lock()
	defer c.connections.mu.Unlock()
	return len(c.connections.open)
}

func snapshotOf(pools ...*routing.Pool) *routing.Snapshot {
	s := &routing.Snapshot{Pools: map[string]*routing.Pool{}}
	for _, p := range pools {
		s.Pools[p.ID] = p
	}
	return s
}

func TestOneConnectionPerPickerEndpoint(t *testing.T) {
	one, two := epptest.Start(t, epptest.Light(chosen)), epptest.Start(t, epptest.Light(chosen))
	c, pool := newTestClient(t, Options{}, one.Address, two.Address)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got, err := choose(t, c, pool); err != nil || len(got) != 1 || got[0] != chosen {
				t.Errorf("chose %v, %v", got, err)
			}
		})
	}
	all.Wait()
	if c.connected() != 2 || one.Streams() != 10 || two.Streams() != 10 {
		t.Errorf("%d connections; %d and %d streams", c.connected(), one.Streams(), two.Streams())
	}
}

func TestConnectionsLeaveWithTheirPicker(t *testing.T) {
	p := epptest.Start(t, epptest.Light(chosen))
	c, pool := newTestClient(t, Options{}, p.Address)
	call := c.Begin(t.Context(), pool)
	if _, _, err := call.Choose(head(), nil); err != nil {
		t.Fatal(err)
	}
	c.Retain(snapshotOf())
	if c.connected() != 1 {
		t.Fatal("a stream was cut")
	}
	call.Close()
	if c.connected() != 0 {
		t.Error("the connection stayed when its last stream had ended")
	}
	// Requests that hold an older snapshot are served, and leave nothing.
	if _, err := choose(t, c, pool); err != nil || c.connected() != 0 {
		t.Errorf("%v; %d connections", err, c.connected())
	}
	c.Retain(snapshotOf(pool))
	if _, err := choose(t, c, pool); err != nil || c.connected() != 1 {
		t.Errorf("%v; %d connections", err, c.connected())
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pools) != 1 || len(c.pickers) != 1 {
		t.Errorf("%d pools and %d pickers are remembered", len(c.pools), len(c.pickers))
	}
}

// A connection on which a picker fell silent is not given new streams.
func TestSuspectConnectionsAreReplaced(t *testing.T) {
	p := epptest.Start(t, epptest.Hangs)
	c, pool := newTestClient(t, Options{Timeout: 20 * time.Millisecond}, p.Address)
	if _, err := choose(t, c, pool); !errors.Is(err, scheduling.ErrExternal) || !errors.Is(err, errSilent) {
		t.Fatalf("error is %v", err)
	}
	if c.connected() != 0 {
		t.Error("the connection was kept")
	}
}

// A picker that wants more time says so, up to a limit.
func TestPickersMayAskForTime(t *testing.T) {
	p := epptest.Start(t, func(s *epptest.Stream) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		if err := s.Send(override(30 * time.Second)); err != nil {
			return err
		}
		return epptest.Hangs(s)
	})
	c, pool := newTestClient(t, Options{Timeout: 20 * time.Second}, p.Address)
	ctx, leave := context.WithCancel(t.Context())
	call := c.Begin(ctx, pool)
	go func() {
		for call.patience.length() != 30*time.Second {
			time.Sleep(time.Millisecond)
		}
		leave()
	}()
	if _, _, err := call.Choose(head(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v", err)
	}
	call.Close()
}

func TestLogTellsChangesAlone(t *testing.T) {
	var lines atomic.Int32
	var text lockedText
	log := slog.New(slog.NewTextHandler(io.MultiWriter(&text, countLines{&lines}), nil))
	p := epptest.Start(t, epptest.Light("10.9.9.9:1"))
	c, pool := newTestClient(t, Options{Logger: log}, p.Address)
	for range 3 {
		_, _ = choose(t, c, pool)
	}
	p.Follow(epptest.Light(chosen))
	for range 3 {
		_, _ = choose(t, c, pool)
	}
	if lines.Load() != 2 || !strings.Contains(text.String(), "endpoint picker fails") || !strings.Contains(text.String(), "answers again") {
		t.Errorf("log says:\n%s", text.String())
	}
}

type countLines struct{ n *atomic.Int32 }

func (c countLines) Write(p []byte) (int, error) { c.n.Add(1); return len(p), nil }

type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}
func (l *lockedText) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func TestClosedClient(t *testing.T) {
	p := epptest.Start(t, epptest.Light(chosen))
	c, pool := newTestClient(t, Options{}, p.Address)
	c.Close()
	if _, err := choose(t, c, pool); !errors.Is(err, scheduling.ErrExternal) {
		t.Errorf("error is %v", err)
	}
}

// Large pools are not listed to pickers.
func TestSubsetHintIsBounded(t *testing.T) {
	pool := testPool()
	for range maxHint {
		pool.Endpoints = append(pool.Endpoints, routing.Endpoint{Address: "10.100.200.1:8000"})
	}
	if n := len(subsetHint(pool)); n == 0 || n > 64<<10 {
		t.Errorf("hint is %d bytes", n)
	}
	pool.Endpoints = append(pool.Endpoints, routing.Endpoint{Address: "10.100.200.1:8000"})
	if subsetHint(pool) != nil {
		t.Error("a larger pool is listed")
	}
	pool.Endpoints = nil
	if len(subsetHint(pool)) == 0 {
		t.Error("an empty pool is not told from an unknown one")
	}
}

func override(d time.Duration) *extprocv3.ProcessingResponse {
	return &extprocv3.ProcessingResponse{OverrideMessageTimeout: durationpb.New(d)}
}

// length is how long waits are.
func (p *patience) length() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.period
}
