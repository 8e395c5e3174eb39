package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/upstream"
)

// EndpointPicker chooses the endpoint of a pool that a call goes to.
type EndpointPicker interface {
	// Pick returns an endpoint, reserved until its Reservation is ended. It must not
	// keep call, nor anything that call's Request points to, which is the memory of
	// the request's body. Its error may be one of scheduling's or an *llm.Error,
	// which is then what the client is told.
	Pick(ctx context.Context, call *scheduling.Call, pool *routing.Pool) (scheduling.Decision, error)
}

// Options are what a Proxy is made of. Picker and Upstream are required.
type Options struct {
	Picker   EndpointPicker
	Upstream *upstream.Client
	// External begins consultations of external pickers; nil: none can be reached.
	External ExternalPicker
	Observer Observer // nil: nobody watches
	Limits   Limits
	Timeouts Timeouts
	Logger   *slog.Logger     // nil: slog.Default
	Now      func() time.Time // nil: time.Now
}

// Proxy serves requests by the Snapshot published last. All methods are safe for
// concurrent use.
type Proxy struct {
	picker   EndpointPicker
	external ExternalPicker
	upstream *upstream.Client
	h2c      http.RoundTripper
	observer Observer
	limits   Limits
	timeouts Timeouts
	logger   *slog.Logger
	now      func() time.Time
	started  time.Time

	snapshot   atomic.Pointer[routing.Snapshot]
	memory     budget
	buffers    bufferPool
	exchanges  sync.Pool
	active     atomic.Int64
	leaving    atomic.Bool // see Listeners.Leave
	mirrors    *mirrors
	trials     trials
	transports transports
}

// New returns a Proxy that answers 503 until a Snapshot is published.
func New(o Options) *Proxy {
	p := &Proxy{
		picker:   o.Picker,
		external: o.External,
		upstream: o.Upstream,
		h2c:      newH2CTransport(),
		observer: o.Observer,
		limits:   o.Limits.withDefaults(),
		timeouts: o.Timeouts.withDefaults(),
		logger:   o.Logger,
		now:      o.Now,
	}
	if p.observer == nil {
		p.observer = nobody{}
	}
	if p.logger == nil {
		p.logger = slog.Default()
	}
	if p.now == nil {
		p.now = time.Now
	}
	p.started = p.now()
	p.memory.limit = p.limits.BufferBytes
	p.mirrors = newMirrors(p.limits)
	p.exchanges.New = func() any { return newExchange(p) }
	return p
}

// Publish makes s the Snapshot of every request that arrives from now on. Those
// under way keep theirs, but those on a candidate whose Assignment in s has Cancel set
// are cut.
func (p *Proxy) Publish(s *routing.Snapshot) {
	p.snapshot.Store(s)
	p.trials.adopt(s)
	p.transports.retain(s)
}

// Snapshot returns the Snapshot published last, or nil.
func (p *Proxy) Snapshot() *routing.Snapshot { return p.snapshot.Load() }

// Active is how many requests are being served, streams and upgraded
// connections included.
func (p *Proxy) Active() int { return int(p.active.Load()) }

// BufferedBytes is how much of Limits.BufferBytes is taken.
func (p *Proxy) BufferedBytes() int64 { return p.memory.used.Load() }

// Close cuts the copies of requests that are still under way to mirrors and closes
// what is idle: the connections to endpoints over HTTP/2 or TLS. The upstream.Client is
// its owner's to close, afterwards.
func (p *Proxy) Close() {
	p.mirrors.close()
	p.transports.close()
	if t, ok := p.h2c.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// Handler returns the handler of the listeners on the given port. It works behind
// any server that keeps to the contract of http.Handler; answers that break off
// are aborted with the panic value http.ErrAbortHandler.
func (p *Proxy) Handler(port uint16) http.Handler { return &handler{proxy: p, port: port} }

type handler struct {
	proxy *Proxy
	port  uint16
}

// ServeHTTP serves one request.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.proxy.leaving.Load() {
		w.Header()["Connection"] = []string{"close"} // over HTTP/2 the server makes GOAWAY of it
	}
	x := h.proxy.begin(w, r, h.port)
	defer x.finish()
	x.run()
}
