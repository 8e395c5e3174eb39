package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/conductor"
	"crossfade.dev/internal/source"
	"crossfade.dev/internal/source/kube"
	"crossfade.dev/internal/translate"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
)

// ControllerConfig is what the controller needs to know before it starts.
type ControllerConfig struct {
	// API is the API server, see kube.LoadConfig.
	API *rest.Config
	// Controllers are the controllerNames of the GatewayClasses that are ours.
	Controllers []string
	// Image of the data planes whose parameters name none.
	Image string
	// FindImage finds it where Image is empty. It is asked again when it fails, for
	// the API server may be away; nil: Image is not empty.
	FindImage func(context.Context) (string, error)
	// Admin is the host:port of the admin server.
	Admin string
	// Lease is the lock of the leader; without a name no other controller runs.
	Lease kube.LeaseOptions
	// Log takes the controller's own log.
	Log *slog.Logger
}

func (c ControllerConfig) validate() error {
	var m mistakes
	m.unless(c.Image != "" || c.FindImage != nil, "--image is empty and this is no pod; name the image of the data planes")
	m.unless(len(c.Controllers) > 0, "--controller-name is empty; try %s", ControllerName)
	_, _, err := net.SplitHostPort(c.Admin)
	m.unless(c.Lease.Name == "" || c.Lease.Namespace != "", "--namespace is empty; name the namespace of the leader's Lease, or set --no-leader-election")
	m.unless(err == nil, "--admin %q is not host:port; try :19000", c.Admin)
	return errors.Join(m...)
}

// Controller writes statuses and events, and makes the data plane of each Gateway.
// It reads and translates all the time and writes while it leads, so that a
// follower is ready to.
type Controller struct {
	cfg        ControllerConfig
	source     *kube.Source
	inputs     inputs
	statuses   *kube.StatusWriter
	dataPlanes *kube.DataPlanes
	events     *kube.Events
	replicas   *replicas
	conductor  *conductor.Conductor
	// epoch of this lead, 0 while no other process may lead.
	epoch atomic.Int64
	// resources as last translated; known is closed when they first were.
	resources atomic.Pointer[translate.Resources]
	known     chan struct{}
	registry  *prometheus.Registry
	metrics   *admin.Metrics
	view      atomic.Pointer[admin.View]

	mu     sync.Mutex
	faults map[translate.ObjectRef]translate.Problem // of data planes, by Gateway
}

// NewController builds the controller and starts nothing.
func NewController(cfg ControllerConfig) (*Controller, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Controller{cfg: cfg, inputs: newInputs(), known: make(chan struct{}), registry: prometheus.NewRegistry(), faults: map[translate.ObjectRef]translate.Problem{}}
	c.metrics = admin.NewMetrics(c.registry)
	c.view.Store(&admin.View{})
	c.source = kube.New(cfg.API, kube.Options{Logger: cfg.Log, Statuses: true, Controllers: cfg.Controllers})
	c.statuses = kube.NewStatusWriter(c.source)
	c.events = kube.NewEvents(c.source)
	c.dataPlanes = kube.NewDataPlanes(c.source, kube.DataPlaneOptions{Controller: cfg.Controllers[0], Report: c.report})
	c.replicas = newReplicas(cfg.Log)
	store, err := kube.NewRolloutStore(c.source)
	if err != nil {
		return nil, err
	}
	c.conductor = conductor.New(conductor.Options{Gateways: c.replicas, Store: store, Teller: c, Epoch: c.epoch.Load, Log: cfg.Log})
	return c, nil
}

// Run works until ctx ends. It returns an error when it cannot start.
func (c *Controller) Run(ctx context.Context) error {
	listener, err := net.Listen("tcp", c.cfg.Admin)
	if err != nil {
		return fmt.Errorf("listen for admin: %w (--admin names another address)", err)
	}
	side := admin.Server(admin.Handler(admin.Sources{View: c.view.Load, Ready: c.ready}, c.registry))
	work, stop := context.WithCancel(ctx)
	defer stop()
	tasks := newTasks(stop)
	tasks.start("admin", func() error { return ignoreClosed(side.Serve(listener)) })
	tasks.start("configuration", func() error { return c.inputs.follow(work, c.source, c.reconcile) })
	tasks.start("writing", func() error { return c.lead(work) })
	<-work.Done()
	_ = side.Close() // nobody waits for the page of a stopping controller
	return tasks.wait()
}

// lead writes while this controller leads, until ctx ends. Losing the lead is an
// error: whoever starts this process starts it again, as a follower.
func (c *Controller) lead(ctx context.Context) error {
	if c.cfg.Lease.Name == "" {
		c.write(ctx, 0)
		return nil
	}
	return kube.Elect(ctx, c.cfg.API, c.cfg.Lease, c.write)
}

// write writes what reconcile finds, for as long as this controller leads.
func (c *Controller) write(ctx context.Context, epoch int64) {
	c.cfg.Log.Info("leading: writing statuses and data planes")
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	tasks := newTasks(stop)
	tasks.start("statuses", func() error { return c.statuses.Run(ctx) })
	tasks.start("data planes", func() error { return c.makeDataPlanes(ctx) })
	tasks.start("events", func() error { return c.events.Run(ctx) })
	tasks.start("rollouts", func() error { return c.conduct(ctx, epoch) })
	if err := tasks.wait(); err != nil {
		c.cfg.Log.Error("writing stopped", "error", err)
	}
}

// conduct follows rollouts until ctx ends. It begins when their statuses are known.
func (c *Controller) conduct(ctx context.Context, epoch int64) error {
	defer c.replicas.close()
	select {
	case <-ctx.Done():
		return nil
	case <-c.known:
	}
	if epoch > 0 {
		// The Lease may have been deleted and made anew: whatever it says, this lead
		// comes after those that left their epochs in statuses.
		epoch = max(epoch, latestEpoch(c.resources.Load().InferenceRollouts)+1)
	}
	c.epoch.Store(epoch)
	return c.conductor.Run(ctx)
}

// Tell implements conductor.Teller, by the log and by an event.
func (c *Controller) Tell(o *cfv1a1.InferenceRollout, reason, message string, alarm bool) {
	say := c.cfg.Log.Info
	if alarm {
		say = c.cfg.Log.Error
	}
	say(message, "rollout", nameOf(o).String(), "reason", reason)
	c.events.Tell(o, reason, message, alarm)
}

// latestEpoch is the highest epoch that leaders have left in the statuses of rollouts.
func latestEpoch(list []*cfv1a1.InferenceRollout) int64 {
	last := int64(0)
	for _, o := range list {
		if s := o.Status.Shares; s != nil {
			last = max(last, s.Epoch)
		}
		if state, err := conductor.StateOf(&o.Status); err == nil {
			last = max(last, state.Epoch)
		}
	}
	return last
}

// makeDataPlanes keeps data planes as they are wanted until ctx ends.
func (c *Controller) makeDataPlanes(ctx context.Context) error {
	image, ok := c.image(ctx)
	if !ok {
		return nil
	}
	c.dataPlanes.UseImage(image)
	return c.dataPlanes.Run(ctx)
}

// imageRetry is the time between two tries to find the image.
const imageRetry = time.Second

// image returns the image of data planes, or false when ctx ends before it is known.
func (c *Controller) image(ctx context.Context) (string, bool) {
	if c.cfg.Image != "" {
		return c.cfg.Image, true
	}
	for last := ""; ; {
		image, err := c.cfg.FindImage(ctx)
		if err == nil {
			return image, true
		}
		if ctx.Err() == nil && err.Error() != last {
			last = err.Error()
			c.cfg.Log.Warn("the image of data planes is not known, so none is made; --image names one", "error", err)
		}
		select {
		case <-ctx.Done():
			return "", false
		case <-time.After(imageRetry):
		}
	}
}

// reconcile translates one set of inputs and hands over what is to be written.
func (c *Controller) reconcile(_ context.Context, update source.Update) {
	started := time.Now()
	result := translate.Build(update.Resources, translate.Options{
		Controllers: c.cfg.Controllers, Cluster: true,
	})
	c.statuses.Set(result.Statuses)
	c.dataPlanes.Set(result.DataPlanes)
	c.replicas.set(update.Resources, result.DataPlanes)
	c.conductor.Set(result.Rollouts, update.Resources.InferenceRollouts)
	others := c.allFaults(update.Problems)
	c.events.Set(slices.Concat(result.Problems, others))

	v := newView(result, update.Origins)
	before := c.view.Load()
	v.Generation, v.Published = before.Generation+1, time.Now()
	v.Read = update.Resources.Len()
	v.addProblems(others, update.Origins)
	v.sortProblems()
	logProblems(c.cfg.Log, before.Problems, v.Problems)
	c.view.Store(v.View)
	c.resources.Store(update.Resources)
	if before.Generation == 0 {
		close(c.known)
	}
	c.metrics.Published(v.View, time.Since(started))
}

// report takes what is wrong with the data plane of a Gateway, nil for nothing.
func (c *Controller) report(gateway translate.ObjectRef, p *translate.Problem) {
	c.mu.Lock()
	before, had := c.faults[gateway]
	if p == nil {
		delete(c.faults, gateway)
	} else {
		c.faults[gateway] = *p
	}
	changed := had != (p != nil) || p != nil && before != *p
	c.mu.Unlock()
	if changed {
		c.inputs.ring()
	}
}

// allFaults returns problems and those of data planes.
func (c *Controller) allFaults(problems []translate.Problem) []translate.Problem {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.AppendSeq(slices.Clone(problems), maps.Values(c.faults))
}

func (c *Controller) ready() error {
	if c.view.Load().Generation == 0 {
		return errors.New("the API server's objects are not known yet")
	}
	return nil
}
