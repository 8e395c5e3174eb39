package app

import (
	"context"
	"slices"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/conductor"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/sim"
	"crossfade.dev/internal/source"
	"crossfade.dev/internal/source/file"
	"crossfade.dev/internal/translate"
)

// Up is the whole gateway in one process, fed from files.
type Up struct {
	// OnReady, if set, is called once, when the first configuration is served.
	OnReady func()

	*plane
	source    *file.Source
	fleet     *fleet
	inputs    inputs
	conductor *conductor.Conductor
}

// NewUp builds the gateway. It reads the files' paths but starts nothing.
func NewUp(cfg Config) (*Up, error) {
	if err := cfg.validateUp(); err != nil {
		return nil, err
	}
	src, err := file.New(cfg.Paths, file.Options{Logger: cfg.Log, Debounce: cfg.HoldOff})
	if err != nil {
		return nil, err
	}
	cfg.ShareInterval = 0 // it is one process
	u := &Up{source: src, inputs: newInputs()}
	u.plane = newPlane(cfg, u.inputs.ring)
	u.rollouts = newRollouts(cfg.StateFile, u.inputs.ring, cfg.Log)
	u.conductor = conductor.New(conductor.Options{Gateways: onlyGateway(u.counts), Store: u.rollouts, Teller: u.rollouts, Log: cfg.Log})
	u.fleet = newFleet(sim.Options{Speed: cfg.SimSpeed, Seed: cfg.SimSeed, Logger: cfg.Log}, cfg.Log)
	return u, nil
}

// Run serves until ctx ends, then lets running requests finish for at most
// Config.Drain. It returns an error when it cannot start or has to cut requests.
func (u *Up) Run(ctx context.Context) error {
	return u.run(ctx, func(work context.Context) error {
		// Running requests have ended, or been cut, before work ends.
		defer u.fleet.close()
		defer u.rollouts.close()
		work, stop := context.WithCancel(work)
		defer stop()
		tasks := newTasks(stop)
		tasks.start("rollouts", func() error { return u.conductor.Run(work) })
		tasks.start("inputs", func() error { return u.inputs.follow(work, u.source, u.reconcile) })
		return tasks.wait()
	})
}

// onlyGateway reads the one gateway there is.
type onlyGateway func() rollout.Counts

// Counts implements conductor.Gateways.
func (g onlyGateway) Counts(context.Context, *translate.Rollout) map[string]*rollout.Counts {
	counts := g()
	return map[string]*rollout.Counts{"crossfade up": &counts}
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
	followed := u.withRollouts(resources, &problems)

	result := translate.Build(resources, upOptions([]string{u.cfg.Bind}))
	u.rollouts.accept(result.Statuses)
	unbound := u.serve(ctx, result.Snapshot)
	if followed {
		u.conductor.Set(result.Rollouts, resources.InferenceRollouts)
	}

	v := u.newView(result, update.Origins, unbound)
	u.markSimulated(v)
	u.markRollouts(v)
	v.addProblems(problems, update.Origins)
	logProblems(u.cfg.Log, u.view.Load().Problems, v.Problems)
	if first := u.show(v, time.Since(started)); first && u.OnReady != nil {
		u.OnReady()
	}
}

func (u *Up) markSimulated(v view) {
	for i := range v.Pools {
		for j, e := range v.Pools[i].Endpoints {
			v.Pools[i].Endpoints[j].Simulated = u.fleet.simulates(e.Address)
		}
	}
}

// withRollouts gives the rollouts of r their statuses, and reports whether they may
// be followed.
func (u *Up) withRollouts(r *translate.Resources, problems *[]translate.Problem) bool {
	errors := slices.ContainsFunc(*problems, func(p translate.Problem) bool { return p.Severity == translate.Error })
	objects, own, ok := u.rollouts.apply(r.InferenceRollouts, errors)
	r.InferenceRollouts = objects
	*problems = append(*problems, own...)
	return ok
}

// markRollouts shows the conditions of rollouts beside translation's own.
func (u *Up) markRollouts(v view) {
	for _, o := range u.rollouts.list() {
		i := slices.IndexFunc(v.Objects, func(x admin.Object) bool {
			return x.Kind == o.Kind && x.Namespace == o.Namespace && x.Name == o.Name
		})
		if i >= 0 {
			v.Objects[i].Status = []admin.Status{{Conditions: o.Status.Conditions}}
		}
	}
}
