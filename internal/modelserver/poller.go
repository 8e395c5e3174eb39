package modelserver

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/upstream"
)

// Defaults of Options.
const (
	DefaultInterval       = time.Second
	DefaultModelsInterval = 10 * time.Second
	DefaultTimeout        = 5 * time.Second
)

// How many endpoints are asked at a time: enough for thousands a second, and
// few enough not to be a burst.
const (
	maxPolls = 64
	// maxSuspects of them may be endpoints that failed last time.
	maxSuspects = 32
)

// Options of a Poller. The callbacks are called from several goroutines, for
// one endpoint one call at a time; they must not block, nor call SetEndpoints.
type Options struct {
	// Interval between reads of an endpoint's metrics; 0 means
	// DefaultInterval.
	Interval time.Duration
	// ModelsInterval between reads of its models; 0 means
	// DefaultModelsInterval.
	ModelsInterval time.Duration
	// Timeout of one read; 0 means DefaultTimeout.
	Timeout time.Duration
	// OnMetrics is called with each answer that shows metrics of an engine we
	// know. Nil means that nobody asks.
	OnMetrics func(address string, m scheduling.Metrics)
	// OnModels is called with an endpoint's first answer and when its models
	// have changed: their names, sorted, or nil when it does not tell.
	OnModels func(address string, models []string)
	// Client for HTTP/1.1; nil means one of the Poller's own, closed when Run
	// returns.
	Client *upstream.Client
	// Logger hears of endpoints that cease to answer and answer again; nil
	// means nobody does.
	Logger *slog.Logger
}

// Target is an endpoint to ask.
type Target struct {
	Address string // host:port
	H2C     bool   // speaks HTTP/2 without TLS
}

// Poller asks a changing set of endpoints. It is safe for concurrent use.
type Poller struct {
	options   Options
	client    *upstream.Client
	ownClient bool
	h2c       *http.Transport
	buffers   sync.Pool // of *[]byte

	polls    chan struct{} // holds a value for each running poll
	suspects chan struct{} // the same for those that failed last time

	mu         sync.Mutex
	ctx        context.Context // of Run; nil before
	stopped    bool
	endpoints  map[string]*endpoint // by address
	generation uint64               // of the last SetEndpoints
	running    sync.WaitGroup       // polls; grows only under mu while not stopped
}

// New returns a Poller that does nothing until Run.
func New(o Options) *Poller {
	o.Interval = cmp.Or(o.Interval, DefaultInterval)
	o.ModelsInterval = cmp.Or(o.ModelsInterval, DefaultModelsInterval)
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Poller{
		options:   o,
		client:    o.Client,
		h2c:       newH2C(),
		buffers:   sync.Pool{New: func() any { b := make([]byte, 0, 16<<10); return &b }},
		polls:     make(chan struct{}, maxPolls),
		suspects:  make(chan struct{}, maxSuspects),
		endpoints: map[string]*endpoint{},
	}
	if p.client == nil {
		p.ownClient = true
		p.client = upstream.New(upstream.Options{
			DialTimeout:    o.Timeout,
			MaxIdlePerHost: 1,
			IdleTimeout:    3 * max(o.Interval, o.ModelsInterval),
		})
	}
	return p
}

// Run asks endpoints until ctx ends, and returns nil when the last answer has
// been dealt with. It may be called once.
func (p *Poller) Run(ctx context.Context) error {
	p.mu.Lock()
	if p.ctx != nil {
		p.mu.Unlock()
		return errors.New("poller runs already")
	}
	p.ctx = ctx
	for _, e := range p.endpoints {
		p.start(e)
	}
	p.mu.Unlock()

	<-ctx.Done()
	p.mu.Lock()
	p.stopped = true
	for _, e := range p.endpoints {
		e.timer.Stop()
	}
	p.mu.Unlock()
	p.running.Wait()
	p.h2c.CloseIdleConnections()
	if p.ownClient {
		p.client.Close()
	}
	return nil
}

// SetEndpoints replaces the set of endpoints. When it returns, nothing more is
// reported of those that targets lack. An endpoint that stays is not disturbed.
func (p *Poller) SetEndpoints(targets []Target) {
	p.mu.Lock()
	p.generation++
	var gone []*endpoint
	for _, t := range targets {
		e := p.endpoints[t.Address]
		if e != nil && e.generation != p.generation && e.target != t {
			gone = append(gone, e)
			e = nil
		}
		if e == nil {
			e = &endpoint{target: t}
			p.endpoints[t.Address] = e
			if p.ctx != nil && !p.stopped {
				p.start(e)
			}
		}
		e.generation = p.generation
	}
	for address, e := range p.endpoints {
		if e.generation != p.generation {
			gone = append(gone, e)
			delete(p.endpoints, address)
		}
	}
	for _, e := range gone {
		if e.timer != nil {
			e.timer.Stop()
			e.cancel()
		}
	}
	p.mu.Unlock()
	for _, e := range gone {
		e.remove()
	}
}

// start sets an endpoint's first poll; p.mu is held.
func (p *Poller) start(e *endpoint) {
	e.ctx, e.cancel = context.WithCancel(p.ctx)
	now := time.Now()
	e.models.due = now
	e.metrics.due = now.Add(rand.N(p.options.Interval))
	e.timer = time.AfterFunc(0, func() { p.poll(e) })
}

// poll does what is due at an endpoint and sets its timer again.
func (p *Poller) poll(e *endpoint) {
	if !p.begin(e) {
		return
	}
	defer p.running.Done()
	lane := p.polls
	if e.suspect() {
		lane = p.suspects
	}
	select {
	case lane <- struct{}{}:
	case <-e.ctx.Done():
		return
	}
	p.ask(e)
	<-lane
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.stopped && e.ctx.Err() == nil {
		e.timer.Reset(time.Until(e.due()))
	}
}

// begin reports whether a poll may start; running.Done must be called then.
func (p *Poller) begin(e *endpoint) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopped || e.ctx.Err() != nil {
		return false
	}
	p.running.Add(1)
	return true
}

// ask asks for models first: they say which of the names are adapters.
func (p *Poller) ask(e *endpoint) {
	now := time.Now()
	if !now.Before(e.models.due) {
		p.askModels(e)
	}
	if !now.Before(e.metrics.due) {
		p.askMetrics(e)
	}
}
