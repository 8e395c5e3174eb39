package app

import (
	"context"
	"time"

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
	source *file.Source
	fleet  *fleet
	inputs inputs
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
	u.fleet = newFleet(sim.Options{Speed: cfg.SimSpeed, Seed: cfg.SimSeed, Logger: cfg.Log}, cfg.Log)
	return u, nil
}

// Run serves until ctx ends, then lets running requests finish for at most
// Config.Drain. It returns an error when it cannot start or has to cut requests.
func (u *Up) Run(ctx context.Context) error {
	return u.run(ctx, func(work context.Context) error {
		// Running requests have ended, or been cut, before work ends.
		defer u.fleet.close()
		return u.inputs.follow(work, u.source, u.reconcile)
	})
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
	unbound := u.serve(ctx, result.Snapshot)

	v := u.newView(result, update.Origins, unbound)
	u.markSimulated(v)
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
