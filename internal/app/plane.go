package app

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/extproc"
	"crossfade.dev/internal/gossip"
	"crossfade.dev/internal/modelserver"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/tally"
	"crossfade.dev/internal/translate"
	"crossfade.dev/internal/upstream"
	"crossfade.dev/internal/warmup"
	"github.com/prometheus/client_golang/prometheus"
)

// plane is the serving half of a role: everything between a Snapshot and the
// wire, and the pages that show it. Its methods are used from one goroutine,
// but for run and the pages.
type plane struct {
	cfg       Config
	ring      func() // asks for another build
	models    *reportedModels
	scheduler *scheduling.Scheduler
	poller    *modelserver.Poller
	client    *upstream.Client
	pickers   *extproc.Client
	proxy     *proxy.Proxy
	listeners *proxy.Listeners
	registry  *prometheus.Registry
	metrics   *admin.Metrics
	books     *tally.Books
	warmup    *warmup.Runner

	rollouts *rollouts      // nil where the API server has them
	gossip   *gossip.Gossip // nil: nobody is told anything

	snapshot  *routing.Snapshot // the one served
	rebinding *time.Timer       // asks for another build, when a port is taken
	view      atomic.Pointer[admin.View]
	draining  atomic.Bool
	awaits    atomic.Pointer[string] // what must be known before it is ready, if anything
}

// rebind is how long after a port could not be opened it is tried again.
const rebind = 5 * time.Second

// newPlane builds a plane that serves nothing yet. ring is called when the
// models that endpoints report have changed, and to try again what did not work.
func newPlane(cfg Config, ring func()) *plane {
	p := &plane{cfg: cfg, ring: ring, registry: prometheus.NewRegistry()}
	p.metrics = admin.NewMetrics(p.registry)
	p.models = &reportedModels{byAddress: map[string][]string{}, changed: ring}
	p.scheduler = scheduling.New(scheduling.Options{
		Objective:  scheduling.Objective(cfg.Objective),
		Queue:      scheduling.QueueOptions{Calls: cfg.QueueCalls, For: cfg.QueueFor},
		StaleAfter: max(scheduling.DefaultStaleAfter, 3*cfg.PollInterval),
		Share:      cfg.ShareInterval > 0,
	})
	if cfg.ShareInterval > 0 {
		p.gossip = gossip.New(gossip.Options{Books: p.scheduler, Interval: cfg.ShareInterval, Logger: cfg.Log})
	}
	p.registry.MustRegister(admin.NewPicking(p.scheduler.Stats, p.sharing()))
	p.poller = modelserver.New(modelserver.Options{
		Interval:  cfg.PollInterval,
		OnMetrics: p.scheduler.Observe,
		OnModels:  p.models.set,
	})
	p.client = upstream.New(upstream.Options{})
	p.pickers = extproc.New(extproc.Options{Logger: cfg.Log})
	p.warmup = warmup.New(warmup.Options{Transport: func(pool *routing.Pool, id *routing.Identity) http.RoundTripper { return p.proxy.Transport(pool, id) }, Logger: cfg.Log})
	p.books = p.newBooks()
	p.proxy = proxy.New(proxy.Options{
		Picker:   p.scheduler,
		Upstream: p.client,
		External: consultations(p.pickers),
		Observer: observer{p.metrics, admin.NewAccessLog(os.Stderr, cfg.AccessLog), p.books},
		Limits:   proxy.Limits{MaxBodyBytes: cfg.MaxBodyBytes, BufferBytes: cfg.BufferBytes},
		Timeouts: proxy.Timeouts{FirstByte: cfg.FirstByteTimeout, StreamIdle: cfg.StreamIdleTimeout},
		Logger:   cfg.Log,
	})
	p.listeners = proxy.NewListeners(p.proxy, proxy.ListenerOptions{Bind: cfg.Bind})
	p.view.Store(&admin.View{})
	return p
}

// run serves, with configuration as the task that publishes snapshots, until ctx
// ends; then it lets running requests finish for at most Config.Drain. It returns
// an error when it cannot start, a task fails or requests have to be cut.
func (p *plane) run(ctx context.Context, configuration func(context.Context) error) error {
	listener, err := net.Listen("tcp", p.cfg.Admin)
	if err != nil {
		return fmt.Errorf("listen for admin: %w (--admin names another address)", err)
	}
	side := admin.Server(admin.Handler(p.sources(), p.registry))
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	tasks := newTasks(stop)
	tasks.start("admin", func() error { return ignoreClosed(side.Serve(listener)) })
	tasks.start("model server polling", func() error { return p.poller.Run(work) })
	tasks.start("warm-up", func() error { return p.warmup.Run(work) })
	if p.gossip != nil {
		tasks.start("telling other gateways", func() error { return p.gossip.Run(work) })
	}
	tasks.start("configuration", func() error { return configuration(work) })

	select {
	case <-ctx.Done():
	case <-work.Done(): // a task failed
	}
	p.draining.Store(true)
	drained := p.drain()
	stop()
	p.proxy.Close()
	p.client.Close()
	p.pickers.Close()
	_ = side.Close() // in its last moments the page of a stopping gateway is nobody's loss
	return errors.Join(tasks.wait(), drained)
}

// drain lets clients leave, stops taking requests and waits for the running ones.
func (p *plane) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.Drain)
	defer cancel()
	if p.cfg.Leave > 0 {
		p.listeners.Leave()
		select {
		case <-time.After(p.cfg.Leave):
		case <-ctx.Done():
		}
	}
	if cut := p.listeners.Shutdown(ctx); cut > 0 {
		return fmt.Errorf("%d requests were still running after %s and have been cut (--drain allows more time)", cut, p.cfg.Drain)
	}
	return nil
}

// serve makes s what new requests are routed by, and returns the ports that could
// not be opened.
func (p *plane) serve(ctx context.Context, s *routing.Snapshot) []proxy.PortError {
	s.Arm(p.snapshot, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	p.books.Adopt(s, time.Now())
	p.proxy.Publish(s)
	p.snapshot = s
	unbound := p.listeners.Sync(ctx, s.Ports)
	if len(unbound) > 0 {
		ringAfter(&p.rebinding, rebind, p.ring) // whoever holds the port may have let go
	}
	p.follow(s)
	return unbound
}

// follow tells everyone who keeps something per endpoint which ones there are.
func (p *plane) follow(s *routing.Snapshot) {
	keep := map[string]bool{}
	var targets []modelserver.Target
	for _, pool := range s.Pools {
		for _, e := range pool.Endpoints {
			if keep[e.Address] || !pool.Inference {
				continue
			}
			keep[e.Address] = true
			targets = append(targets, modelserver.Target{Address: e.Address, H2C: pool.Protocol == routing.H2C})
		}
	}
	p.models.retain(keep)
	p.poller.SetEndpoints(targets)
	p.scheduler.Retain(s)
	p.pickers.Retain(s)
	splits := tally.Splits(s)
	p.warmup.Set(splits)
	p.metrics.Rollouts(sharesOf(splits))
}

// show makes v the view and says whether it is the first.
func (p *plane) show(v view, took time.Duration) (first bool) {
	v.sortProblems()
	before := p.view.Load()
	p.view.Store(v.View)
	p.metrics.Published(v.View, took)
	return before.Generation == 0
}

// newView is the view of what was just published; unbound are the ports that
// could not be opened.
func (p *plane) newView(r *translate.Result, origins map[translate.ObjectRef]string, unbound []proxy.PortError) view {
	failures := map[uint16]error{}
	for _, e := range unbound {
		failures[e.Port] = e
	}
	v := newView(r, origins)
	v.Generation = p.view.Load().Generation + 1
	v.Published = time.Now()
	for _, port := range r.Snapshot.Ports {
		v.Listeners = append(v.Listeners, p.newListenerView(port, failures[port.Number]))
		if err := failures[port.Number]; err != nil {
			v.Problems = append(v.Problems, unboundProblem(port, err))
		}
	}
	return v
}

func (p *plane) sources() admin.Sources {
	s := admin.Sources{
		View: p.view.Load, Ready: p.ready, Scheduling: p.scheduler.Stats, Explained: p.scheduler.Explained,
		Counts: p.counts, Bar: p.barCandidate,
	}
	if p.rollouts != nil {
		s.Rollouts, s.Ask = p.rollouts.list, p.rollouts.ask
	}
	if p.gossip != nil {
		s.Gossip = p.gossip
	}
	return s
}

// sharing is how the gossip goes, nil when there is none.
func (p *plane) sharing() func() gossip.Stats {
	if p.gossip == nil {
		return nil
	}
	return p.gossip.Stats
}

func (p *plane) ready() error {
	switch {
	case p.draining.Load():
		return errors.New("stopping")
	case p.view.Load().Generation == 0:
		return errors.New("no configuration served yet")
	}
	if what := p.awaits.Load(); what != nil {
		return fmt.Errorf("%s is not known yet", *what)
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
