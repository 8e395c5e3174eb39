package kube

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	// Image of data planes whose parameters name none: the controller's own.
	Image string
	// Controller is the controllerName of our GatewayClasses. Objects made for
	// another are left alone.
	Controller string
	// ClusterRole that gateways are bound to; "" is crossfade-gateway.
	ClusterRole string
	// Resync is how often objects are made anew that somebody may have changed;
	// 0 is 10 minutes.
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
	o.Resync = cmp.Or(o.Resync, 10*time.Minute)
	return &DataPlanes{
		source: s, log: s.log, options: o,
		render: &renderer{image: o.Image, controller: o.Controller, clusterRole: o.ClusterRole},
		want:   map[types.NamespacedName]*translate.DataPlane{}, logged: map[types.NamespacedName]string{},
	}
}

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
			gone = gone || old != nil && (old.Name != p.Name || !slices.Equal(old.Secrets, p.Secrets))
		} else if d.source.lacks(p) {
			d.add(name)
		}
	}
	for name := range before {
		gone = gone || want[name] == nil
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
	var plane *translate.DataPlane
	if name == (types.NamespacedName{}) {
		err = d.sweep(ctx)
	} else {
		d.mu.Lock()
		plane = d.want[name]
		d.mu.Unlock()
		if plane != nil {
			err = d.render.apply(ctx, d.client, plane)
		}
	}
	if ctx.Err() != nil {
		return
	}
	d.tell(name, plane, err)
	if err != nil {
		d.queue.AddRateLimited(name)
	} else {
		d.queue.Forget(name)
	}
}

// tell logs and reports how it went, if that is news.
func (d *DataPlanes) tell(name types.NamespacedName, plane *translate.DataPlane, err error) {
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
	var problem *translate.Problem
	if err != nil {
		d.log.Warn("a data plane is not as it should be", "gateway", name.String(), "error", err)
		problem = problemOf(plane, err)
	}
	if d.options.Report != nil && plane != nil {
		d.options.Report(plane.Gateway, problem)
	}
}

// problemOf words an error for the Gateway's author.
func problemOf(plane *translate.DataPlane, err error) *translate.Problem {
	if plane == nil {
		return nil
	}
	remedy := "see what the API server says of it"
	var other *notOursError
	if errors.As(err, &other) {
		remedy = "remove that object, or give the Gateway another name"
	}
	return &translate.Problem{Severity: translate.Error, Ref: plane.Gateway, Message: withoutValue(err), Remedy: remedy}
}

// sweep removes the objects that this controller made and that no Gateway wants:
// of Gateways that are gone or moved to another class, also while no controller
// ran, and of Secrets that are referred to no longer.
func (d *DataPlanes) sweep(ctx context.Context) error {
	if !d.source.sure() {
		return errors.New("remove data planes: the Gateways are not known") // and none must be taken for gone
	}
	wanted := map[string]bool{}
	d.mu.Lock()
	for _, p := range d.want {
		for _, o := range d.render.render(p) {
			wanted[nameIn(o.owned, o.object)] = true
		}
	}
	d.mu.Unlock()
	ours := metav1.ListOptions{LabelSelector: managedLabel + "=" + managedBy + "," + controllerLabel + "=" + controllerValue(d.options.Controller)}
	for _, k := range slices.Backward(allOwned) { // rights go last
		list, err := k.resource(d.client, "").List(ctx, ours)
		if err != nil {
			return fmt.Errorf("list %s: %w", k.plural, err)
		}
		for i := range list.Items {
			o := &list.Items[i]
			if wanted[nameIn(k, o)] || o.GetDeletionTimestamp() != nil || d.source.undecided(o.GetAnnotations()[gatewayAnnotation]) {
				continue
			}
			uid, background := o.GetUID(), metav1.DeletePropagationBackground
			err := k.resource(d.client, o.GetNamespace()).Delete(ctx, o.GetName(), metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &uid}, PropagationPolicy: &background})
			if err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("remove %s %s/%s: %w", k.kind, o.GetNamespace(), o.GetName(), err)
			}
			d.log.Info("removed an object no Gateway wants", "kind", k.kind, "namespace", o.GetNamespace(), "name", o.GetName())
		}
	}
	return nil
}

func nameIn(k owned, o metav1.Object) string {
	return k.plural + " " + o.GetNamespace() + "/" + o.GetName()
}
