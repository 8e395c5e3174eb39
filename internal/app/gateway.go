package app

import (
	"context"
	"errors"
	"time"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/types"
)

// Gateway is the data plane of one Gateway on a cluster. It reads its objects from
// the API server and writes nothing; while the API server is away it goes on
// serving what it knew.
type Gateway struct {
	*plane
	name   types.NamespacedName
	source source.Source
	inputs inputs
}

// NewGateway builds the data plane of the Gateway called name, fed from src.
func NewGateway(cfg Config, name types.NamespacedName, src source.Source) (*Gateway, error) {
	if err := cfg.validateServing(); err != nil {
		return nil, err
	}
	if name.Namespace == "" || name.Name == "" {
		return nil, errors.New("--gateway names no Gateway: write it as namespace/name")
	}
	g := &Gateway{name: name, source: src, inputs: newInputs()}
	g.plane = newPlane(cfg, g.inputs.ring)
	return g, nil
}

// Run serves until ctx ends, then lets running requests finish for at most
// Config.Drain. It returns an error when it cannot start or has to cut requests.
func (g *Gateway) Run(ctx context.Context) error {
	return g.run(ctx, func(work context.Context) error {
		return g.inputs.follow(work, g.source, g.reconcile)
	})
}

// reconcile makes and publishes the snapshot of one set of inputs.
func (g *Gateway) reconcile(ctx context.Context, update source.Update) {
	started := time.Now()
	in := *update.Resources
	in.Models = g.models.all()
	result := translate.Build(&in, translate.Options{Controller: ControllerName, Cluster: true, Only: g.name})
	unbound := g.serve(ctx, result.Snapshot)
	v := g.newView(result, update.Origins, unbound)
	v.addProblems(update.Problems, update.Origins)
	g.show(v, time.Since(started))
}
