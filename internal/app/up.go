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
	"crossfade.dev/internal/modelserver"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/sim"
	"crossfade.dev/internal/source"
	"crossfade.dev/internal/source/file"
	"crossfade.dev/internal/translate"
	"crossfade.dev/internal/upstream"
	"github.com/prometheus/client_golang/prometheus"
)

// Up is the whole gateway in one process, fed from files.
type Up struct {
	// OnReady, if set, is called once, when the first configuration is served.
	OnReady func()

	cfg       Config
	source    *file.Source
	fleet     *fleet
	models    *reportedModels
	scheduler *scheduling.Scheduler
	poller    *modelserver.Poller
	client    *upstream.Client
	pickers   *extproc.Client
	proxy     *proxy.Proxy
	listeners *proxy.Listeners
	registry  *prometheus.Registry
	metrics   *admin.Metrics

	rebuild  chan struct{} // rung when an input other than the files changed
	snapshot *routing.Snapshot
	view     atomic.Pointer[admin.View]
	draining atomic.Bool
}

// NewUp builds the gateway. It reads the files' paths but starts nothing.
func NewUp(cfg Config) (*Up, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	src, err := file.New(cfg.Paths, file.Options{Logger: cfg.Log, Debounce: cfg.HoldOff})
	if err != nil {
		return nil, err
	}
	u := &Up{cfg: cfg, source: src, registry: prometheus.NewRegistry(), rebuild: make(chan struct{}, 1)}
	u.metrics = admin.NewMetrics(u.registry)
	u.fleet = newFleet(sim.Options{Speed: cfg.SimSpeed, Seed: cfg.SimSeed, Logger: cfg.Log}, cfg.Log)
	u.models = &reportedModels{byAddress: map[string][]string{}, changed: u.ring}
	u.scheduler = scheduling.New(scheduling.Options{StaleAfter: max(scheduling.DefaultStaleAfter, 3*cfg.PollInterval)})
	u.poller = modelserver.New(modelserver.Options{
		Interval:  cfg.PollInterval,
		OnMetrics: u.scheduler.Observe,
		OnModels:  u.models.set,
	})
	u.client = upstream.New(upstream.Options{})
	u.pickers = extproc.New(extproc.Options{Logger: cfg.Log})
	u.proxy = proxy.New(proxy.Options{
		Picker:   u.scheduler,
		Upstream: u.client,
		External: consultations(u.pickers),
		Observer: observer{u.metrics, admin.NewAccessLog(os.Stderr, cfg.AccessLog)},
		Limits:   proxy.Limits{MaxBodyBytes: cfg.MaxBodyBytes, BufferBytes: cfg.BufferBytes},
		Timeouts: proxy.Timeouts{FirstByte: cfg.FirstByteTimeout, StreamIdle: cfg.StreamIdleTimeout},
		Logger:   cfg.Log,
	})
	u.listeners = proxy.NewListeners(u.proxy, proxy.ListenerOptions{Bind: cfg.Bind})
	u.view.Store(&admin.View{})
	return u, nil
}

// ring asks for another build; calls that come before it starts are one.
func (u *Up) ring() {
	select {
	case u.rebuild <- struct{}{}:
	default:
	}
}

// Run serves until ctx ends, then lets running requests finish for at most
// Config.Drain. It returns an error when it cannot start or has to cut requests.
func (u *Up) Run(ctx context.Context) error {
	listener, err := net.Listen("tcp", u.cfg.Admin)
	if err != nil {
		return fmt.Errorf("listen for admin: %w (--admin names another address)", err)
	}
	side := admin.Server(admin.Handler(u.sources(), u.registry))
	work, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	tasks := newTasks(stop)
	tasks.start("admin", func() error { return ignoreClosed(side.Serve(listener)) })
	tasks.start("model server polling", func() error { return u.poller.Run(work) })
	tasks.start("configuration", func() error { return u.reconcileLoop(work) })

	select {
	case <-ctx.Done():
	case <-work.Done(): // a task failed
	}
	u.draining.Store(true)
	drained := u.drain()
	stop()
	u.fleet.close()
	u.proxy.Close()
	u.client.Close()
	u.pickers.Close()
	_ = side.Close() // in its last moments the page of a stopping gateway is nobody's loss
	return errors.Join(tasks.wait(), drained)
}

// drain stops taking requests and waits for the running ones.
func (u *Up) drain() error {
	ctx, cancel := context.WithTimeout(context.Background(), u.cfg.Drain)
	defer cancel()
	if cut := u.listeners.Shutdown(ctx); cut > 0 {
		return fmt.Errorf("%d requests were still running after %s and have been cut (--drain allows more time)", cut, u.cfg.Drain)
	}
	return nil
}

// reconcileLoop turns inputs into snapshots, one at a time, until ctx ends.
func (u *Up) reconcileLoop(ctx context.Context) error {
	updates := make(chan source.Update)
	failed := make(chan error, 1)
	go func() {
		failed <- u.source.Run(ctx, func(up source.Update) {
			select {
			case updates <- up:
			case <-ctx.Done():
			}
		})
	}()
	var latest source.Update
	for {
		select {
		case err := <-failed:
			return err
		case latest = <-updates:
		case <-u.rebuild:
			if latest.Resources == nil {
				continue
			}
		}
		u.reconcile(ctx, latest)
	}
}

// reconcile makes and publishes the snapshot of one set of inputs.
func (u *Up) reconcile(ctx context.Context, update source.Update) {
	started := time.Now()
	in := *update.Resources
	in.Models = u.models.all()
	resources, problems := u.fleet.apply(ctx, &in)
	u.models.assume(resources.Models)
	problems = append(problems, unsimulatedProblems(update.Resources)...)
	problems = append(problems, update.Problems...)

	result := translate.Build(resources, upOptions([]string{u.cfg.Bind}))
	result.Snapshot.Arm(u.snapshot, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64())))
	u.proxy.Publish(result.Snapshot)
	u.snapshot = result.Snapshot
	unbound := u.listeners.Sync(ctx, result.Snapshot.Ports)
	u.follow(result.Snapshot)

	first := u.view.Load().Generation == 0
	v := u.newView(result, update.Origins, unbound)
	v.addProblems(problems, update.Origins)
	v.sortProblems()
	u.logProblems(v.Problems)
	u.view.Store(v.View)
	u.metrics.Published(v.View, time.Since(started))
	if first && u.OnReady != nil {
		u.OnReady()
	}
}

// follow tells everyone who keeps something per endpoint which ones there are.
func (u *Up) follow(s *routing.Snapshot) {
	keep := map[string]bool{}
	var targets []modelserver.Target
	for _, p := range s.Pools {
		for _, e := range p.Endpoints {
			if keep[e.Address] || !p.Inference {
				continue
			}
			keep[e.Address] = true
			targets = append(targets, modelserver.Target{Address: e.Address, H2C: p.Protocol == routing.H2C})
		}
	}
	u.models.retain(keep)
	u.poller.SetEndpoints(targets)
	u.scheduler.Retain(s)
	u.pickers.Retain(s)
}

// logProblems logs the problems that the previous view did not have.
func (u *Up) logProblems(problems []admin.Problem) {
	known := map[admin.Problem]bool{}
	for _, p := range u.view.Load().Problems {
		known[p] = true
	}
	for _, p := range problems {
		if known[p] {
			continue
		}
		log := u.cfg.Log.Warn
		if p.Severity == translate.Error {
			log = u.cfg.Log.Error
		}
		log(p.Message, "object", p.Object, "field", p.Field, "origin", p.Origin, "remedy", p.Remedy)
	}
}

func (u *Up) sources() admin.Sources {
	return admin.Sources{View: u.view.Load, Ready: u.ready, Scheduling: u.scheduler.Stats}
}

func (u *Up) ready() error {
	switch {
	case u.draining.Load():
		return errors.New("stopping")
	case u.view.Load().Generation == 0:
		return errors.New("no configuration served yet")
	}
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
