package app

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Gateway is the data plane of one Gateway on a cluster. It reads its objects from
// the API server and writes nothing; while the API server is away it goes on
// serving what it knew.
type Gateway struct {
	*plane
	name   types.NamespacedName
	source source.Source
	inputs inputs
	own    []netip.Addr // of this machine, or pod
}

// NewGateway builds the data plane of the Gateway called name, fed from src.
func NewGateway(cfg Config, name types.NamespacedName, src source.Source) (*Gateway, error) {
	if err := cfg.validateServing(); err != nil {
		return nil, err
	}
	if name.Namespace == "" || name.Name == "" {
		return nil, errors.New("--gateway names no Gateway: write it as namespace/name")
	}
	g := &Gateway{name: name, source: src, inputs: newInputs(), own: ownAddresses()}
	g.plane = newPlane(cfg, g.inputs.ring)
	what := "Gateway " + name.String()
	g.awaits.Store(&what)
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
	if own := g.known(update.Resources); own != nil {
		g.awaits.Store(nil)
		g.meet(translate.Siblings(update.Resources, own, g.own))
	}
	v := g.newView(result, update.Origins, unbound)
	v.Read = update.Resources.Len()
	v.addProblems(update.Problems, update.Origins)
	g.logOwn(v, update, unbound)
	g.show(v, time.Since(started))
}

// logOwn logs what only this process can know: what it may not read, and the ports
// it could not open. Of objects the controller speaks; the pages show both.
func (g *Gateway) logOwn(v view, update source.Update, unbound []proxy.PortError) {
	own := map[string]bool{}
	for _, p := range update.Problems {
		own[p.Message] = true
	}
	for _, e := range unbound {
		own[e.Error()] = true
	}
	problems := slices.DeleteFunc(slices.Clone(v.Problems), func(p admin.Problem) bool { return !own[p.Message] })
	logProblems(g.cfg.Log, g.view.Load().Problems, problems)
}

// known returns the Gateway to serve, if it is among the objects. Before it is, a pod
// must not be taken for ready: it would replace one that serves.
func (g *Gateway) known(r *translate.Resources) *gwv1.Gateway {
	i := slices.IndexFunc(r.Gateways, func(o *gwv1.Gateway) bool {
		return o != nil && o.Namespace == g.name.Namespace && o.Name == g.name.Name
	})
	if i < 0 {
		return nil
	}
	return r.Gateways[i]
}
