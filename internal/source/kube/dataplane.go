package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/workqueue"
)

// DataPlaneOptions are the settings of DataPlanes.
type DataPlaneOptions struct {
	// Controller is the controllerName of our GatewayClasses. Objects made for
	// another are left alone.
	Controller string
	// ClusterRole that gateways are bound to; "" is crossfade-gateway.
	ClusterRole string
	// Resync is how often objects are made anew that somebody may have changed;
	// 0 is 2 minutes.
	Resync time.Duration
	// Report is told of a problem with a Gateway's objects, and when there is
	// none any longer (nil), from any goroutine; it may be nil.
	Report func(gateway translate.ObjectRef, problem *translate.Problem)
}

// DataPlanes makes and removes the objects that Gateways' data planes consist of.
type DataPlanes struct {
	source  *Source
	log     *slog.Logger
	options DataPlaneOptions
	render  *renderer
	client  dynamic.Interface

	mu sync.Mutex
	// queue holds the Gateways to see to; the empty name stands for removing
	// what no Gateway wants. It is nil before Run.
	queue  workqueue.TypedRateLimitingInterface[types.NamespacedName]
	known  bool // Set was called
	want   map[types.NamespacedName]*translate.DataPlane
	logged map[types.NamespacedName]string // last error
}

// dataPlaneWorkers is how many Gateways are seen to at a time.
const dataPlaneWorkers = 4

// NewDataPlanes returns a maker of data planes for the Gateways of s, whose Options
// have Statuses set.
func NewDataPlanes(s *Source, o DataPlaneOptions) *DataPlanes {
	o.ClusterRole = cmp.Or(o.ClusterRole, "crossfade-gateway")
	o.Resync = cmp.Or(o.Resync, 2*time.Minute)
	return &DataPlanes{
		source: s, log: s.log, options: o,
		render: &renderer{controller: o.Controller, clusterRole: o.ClusterRole},
		want:   map[types.NamespacedName]*translate.DataPlane{}, logged: map[types.NamespacedName]string{},
	}
}

// UseImage sets the image of data planes whose parameters name none: the
// controller's own. It must come before Run.
func (d *DataPlanes) UseImage(image string) { d.render.image = image }

// Set replaces the data planes there are to be, all of them; the latest ones win.
// They must not change afterwards. It does not wait.
func (d *DataPlanes) Set(planes []translate.DataPlane) {
	want := make(map[types.NamespacedName]*translate.DataPlane, len(planes))
	for i := range planes {
		want[types.NamespacedName{Namespace: planes[i].Gateway.Namespace, Name: planes[i].Gateway.Name}] = &planes[i]
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	before, first := d.want, !d.known
	d.known, d.want = true, want
	if first {
		d.addAll()
		return
	}
	gone := false
	for name, p := range want {
		old := before[name]
		if old == nil || !equality.Semantic.DeepEqual(old, p) {
			d.add(name)
			gone = gone || old != nil && !p.Keep && (old.Name != p.Name || !slices.Equal(old.Reads, p.Reads))
		} else if !p.Keep && d.logged[name] == "" && d.source.lacks(p) { // one that failed has its turn anyway
			d.add(name)
		}
	}
	for name := range before {
		if want[name] == nil {
			gone = true
			d.add(name) // for its problem to end
		}
	}
	if gone {
		d.add(types.NamespacedName{})
	}
}

// add has a Gateway seen to. Before Run there is no need: it sees to all. The lock
// is held.
func (d *DataPlanes) add(name types.NamespacedName) {
	if d.queue != nil {
		d.queue.Add(name)
	}
}

// addAll has all Gateways seen to, and what is left of others: an earlier
// controller may have left something. The lock is held.
func (d *DataPlanes) addAll() {
	if !d.known {
		return
	}
	for name := range d.want {
		d.add(name)
	}
	d.add(types.NamespacedName{})
}

// Run makes and removes objects until ctx ends, which must be only once, and while
// nobody else does: see Elect. It fails when no client can be made.
func (d *DataPlanes) Run(ctx context.Context) error {
	var err error
	if d.client, err = dynamic.NewForConfig(d.source.cfg); err != nil {
		return err
	}
	queue := newQueue[types.NamespacedName]()
	d.mu.Lock()
	d.queue = queue
	d.addAll()
	d.mu.Unlock()
	var resync sync.WaitGroup
	resync.Go(func() { d.resync(ctx) })
	work(ctx, queue, dataPlaneWorkers, d.process)
	resync.Wait()
	return nil
}

// resync has everything seen to now and then: somebody may have changed it.
func (d *DataPlanes) resync(ctx context.Context) {
	ticks := time.NewTicker(d.options.Resync)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
			d.mu.Lock()
			d.addAll()
			d.mu.Unlock()
		}
	}
}

// process sees to one Gateway's objects, or removes those nobody wants.
func (d *DataPlanes) process(ctx context.Context, name types.NamespacedName) {
	var err error
	if name == (types.NamespacedName{}) {
		err = d.sweep(ctx)
	} else if plane := d.wanted(name); plane != nil && !plane.Keep {
		err = d.render.apply(ctx, d.client, plane)
	}
	if ctx.Err() != nil {
		return
	}
	d.tell(name, err)
	if err != nil {
		d.queue.AddRateLimited(name)
	} else {
		d.queue.Forget(name)
	}
}

// wanted returns the data plane that a Gateway is to have, or nil.
func (d *DataPlanes) wanted(gateway types.NamespacedName) *translate.DataPlane {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.want[gateway]
}

// tell logs and reports how it went, if that is news.
func (d *DataPlanes) tell(name types.NamespacedName, err error) {
	d.mu.Lock()
	last := d.logged[name]
	now := ""
	if err != nil {
		now = err.Error()
		d.logged[name] = now
	} else {
		delete(d.logged, name)
	}
	d.mu.Unlock()
	if last == now {
		return
	}
	ref := translate.ObjectRef{Group: gatewayKind.Group, Kind: gatewayKind.Kind, Namespace: name.Namespace, Name: name.Name}
	var problem *translate.Problem
	if err != nil {
		d.log.Warn("a data plane is not as it should be", "gateway", name.String(), "error", err)
		problem = problemOf(ref, err)
	}
	if d.options.Report != nil && name != (types.NamespacedName{}) {
		d.options.Report(ref, problem)
	}
}

// problemOf words an error for the author of a Gateway.
func problemOf(gateway translate.ObjectRef, err error) *translate.Problem {
	remedy := "see what the API server says of it"
	var other *notOursError
	if errors.As(err, &other) {
		remedy = "remove that object, or give the Gateway another name"
	}
	return &translate.Problem{Severity: translate.Error, Ref: gateway, Message: withoutValue(err), Remedy: remedy}
}

// sweep removes the objects that this controller made and that no Gateway wants:
// of Gateways that are gone or moved to another class, also while no controller
// ran, and of Secrets that are referred to no longer.
func (d *DataPlanes) sweep(ctx context.Context) error {
	if !d.source.sure() {
		return errors.New("remove data planes: the Gateways are not known") // and none must be taken for gone
	}
	ours := metav1.ListOptions{LabelSelector: managedLabel + "=" + managedBy + "," + controllerLabel + "=" + controllerValue(d.options.Controller)}
	for _, k := range slices.Backward(allOwned) { // rights go last
		list, err := k.resource(d.client, "").List(ctx, ours)
		if err != nil {
			return fmt.Errorf("list %s: %w", k.plural, err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			if o.GetDeletionTimestamp() != nil || d.needs(k, o) {
				continue
			}
			if err := d.remove(ctx, k, o); err != nil {
				return fmt.Errorf("remove %s %s/%s: %w", k.kind, o.GetNamespace(), o.GetName(), err)
			}
		}
	}
	return nil
}

// needs says whether a Gateway wants the object now, after it was listed: one made
// for a Gateway that came meanwhile is not taken for one left behind.
func (d *DataPlanes) needs(k owned, o metav1.Object) bool {
	var gateway types.NamespacedName
	gateway.Namespace, gateway.Name, _ = strings.Cut(o.GetAnnotations()[gatewayAnnotation], "/")
	plane := d.wanted(gateway)
	if plane == nil || plane.Keep {
		return plane != nil
	}
	return slices.ContainsFunc(d.render.render(plane), func(r rendered) bool {
		return r.owned == k && r.object.GetNamespace() == o.GetNamespace() && r.object.GetName() == o.GetName()
	})
}

// remove deletes an object as it was listed: not another of its name, nor what
// somebody has changed since.
func (d *DataPlanes) remove(ctx context.Context, k owned, o metav1.Object) error {
	uid, version, background := o.GetUID(), o.GetResourceVersion(), metav1.DeletePropagationBackground
	err := k.resource(d.client, o.GetNamespace()).Delete(ctx, o.GetName(), metav1.DeleteOptions{
		Preconditions: &metav1.Preconditions{UID: &uid, ResourceVersion: &version}, PropagationPolicy: &background,
	})
	if err == nil {
		d.log.Info("removed an object no Gateway wants", "kind", k.kind, "namespace", o.GetNamespace(), "name", o.GetName())
	}
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
