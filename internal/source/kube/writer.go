package kube

import (
	"context"
	"encoding/json"
	"log/slog"
	"sync"
	"time"

	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/util/workqueue"
)

// fieldManager is who we are in objects' managedFields.
const fieldManager = "crossfade-controller"

// StatusWriter writes the statuses that translation found into the objects of a
// Source. It writes only what differs and only what is ours: other controllers'
// entries and conditions stay, and so does the time of a transition that did not
// happen. One object that cannot be written holds up no other.
type StatusWriter struct {
	source *Source
	log    *slog.Logger
	client dynamic.Interface

	mu       sync.Mutex
	queue    workqueue.TypedRateLimitingInterface[translate.ObjectRef] // nil before Run
	known    bool                                                      // Set was called
	want     map[translate.ObjectRef]*translate.Status
	ours     map[string]bool // controllerNames
	gateways map[translate.ObjectRef]bool
	written  map[translate.ObjectRef]*written
	logged   map[translate.ObjectRef]string // last error
}

// written is what became of the last write to an object.
type written struct {
	want    *translate.Status
	patch   map[string]any
	base    string // resourceVersion written over
	result  *live
	undone  int       // times in a row that somebody changed it back
	waiting time.Time // not before
}

// Bounds of writing, per object.
const (
	writers      = 8
	firstRewrite = 250 * time.Millisecond
	lastRewrite  = 5 * time.Minute
	maxConflicts = 4
)

// NewStatusWriter returns a writer of the statuses of the objects of s, whose
// Options have Statuses set. Controllers of these options, and the names in the
// statuses, tell which entries are ours.
func NewStatusWriter(s *Source) *StatusWriter {
	w := &StatusWriter{
		source: s, log: s.log,
		want: map[translate.ObjectRef]*translate.Status{}, ours: map[string]bool{}, gateways: map[translate.ObjectRef]bool{},
		written: map[translate.ObjectRef]*written{}, logged: map[translate.ObjectRef]string{},
	}
	for _, c := range s.options.Controllers {
		w.ours[c] = true
	}
	return w
}

// Set replaces the statuses to be written; the latest ones win. They must not
// change afterwards. It does not wait.
func (w *StatusWriter) Set(statuses []translate.Status) {
	want := make(map[translate.ObjectRef]*translate.Status, len(statuses))
	gateways := map[translate.ObjectRef]bool{}
	w.mu.Lock()
	all := !w.known
	for i := range statuses {
		s := &statuses[i]
		want[s.Ref] = s
		if s.Ref.Kind == "Gateway" {
			gateways[s.Ref] = true
			all = all || !w.gateways[s.Ref]
		}
		for _, p := range s.Parents {
			if !w.ours[p.Controller] {
				w.ours[p.Controller], all = true, true
			}
		}
	}
	all = all || len(gateways) != len(w.gateways)
	var changed []translate.ObjectRef
	for ref, s := range want {
		if old := w.want[ref]; old == nil || !equality.Semantic.DeepEqual(old, s) {
			changed = append(changed, ref)
		}
	}
	for ref := range w.want {
		if want[ref] == nil {
			changed = append(changed, ref)
		}
	}
	w.known, w.want, w.gateways = true, want, gateways
	w.mu.Unlock()
	if all { // whose an entry is may have changed anywhere
		changed = w.source.judgedObjects()
	}
	w.add(changed)
}

// add has the statuses of objects looked at. Before Run there is no need: it looks
// at all.
func (w *StatusWriter) add(refs []translate.ObjectRef) {
	w.mu.Lock()
	queue := w.queue
	w.mu.Unlock()
	if queue == nil {
		return
	}
	for _, ref := range refs {
		queue.Add(ref)
	}
}

// Run writes statuses until ctx ends, which must be only once, and while nobody
// else does: see Elect. It fails when no client can be made.
func (w *StatusWriter) Run(ctx context.Context) error {
	var err error
	if w.client, err = dynamic.NewForConfig(w.source.cfg); err != nil {
		return err
	}
	queue := newQueue[translate.ObjectRef]()
	w.mu.Lock()
	w.queue = queue
	w.mu.Unlock()
	stop := w.source.onStatus(w.add)
	defer stop()
	w.add(w.source.judgedObjects())
	work(ctx, queue, writers, w.process)
	return nil
}

// newQueue returns a queue whose items are tried again after longer and longer
// waits.
func newQueue[T comparable]() workqueue.TypedRateLimitingInterface[T] {
	return workqueue.NewTypedRateLimitingQueue(workqueue.NewTypedItemExponentialFailureRateLimiter[T](firstRewrite, time.Minute))
}

// work has the items of a queue processed, some at a time but none twice at once,
// until ctx ends.
func work[T comparable](ctx context.Context, queue workqueue.TypedInterface[T], workers int, process func(context.Context, T)) {
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for {
				item, done := queue.Get()
				if done {
					return
				}
				process(ctx, item)
				queue.Done(item)
			}
		})
	}
	<-ctx.Done()
	queue.ShutDown()
	group.Wait()
}

// process brings the status of one object up to date and sees to it that this is
// tried again when it fails.
func (w *StatusWriter) process(ctx context.Context, ref translate.ObjectRef) {
	again, err := w.write(ctx, ref)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		w.logOnce(ref, err)
		w.queue.AddRateLimited(ref)
	case again > 0:
		w.queue.AddAfter(ref, again)
	default:
		w.queue.Forget(ref)
		w.mu.Lock()
		delete(w.logged, ref)
		w.mu.Unlock()
	}
}

// logOnce logs an error of an object unless it was the last one already.
func (w *StatusWriter) logOnce(ref translate.ObjectRef, err error) {
	w.mu.Lock()
	known := w.logged[ref] == err.Error()
	w.logged[ref] = err.Error()
	w.mu.Unlock()
	if !known {
		w.log.Warn("a status is not written", "object", ref.String(), "error", err)
	}
}

// write writes what differs in the status of an object, or says when it may.
func (w *StatusWriter) write(ctx context.Context, ref translate.ObjectRef) (again time.Duration, err error) {
	now := w.source.live(ref)
	for range maxConflicts {
		if now == nil {
			w.forget(ref)
			return 0, nil
		}
		task := w.task(ref, now)
		if task == nil || task.wait > 0 {
			if task == nil {
				return 0, nil
			}
			return task.wait, nil
		}
		result, err := w.send(ctx, ref, task)
		switch {
		case err == nil:
			w.remember(ref, task, result)
			return 0, nil
		case apierrors.IsNotFound(err):
			w.log.Debug("an object whose status was to be written is gone", "object", ref.String(), "error", err)
			return 0, nil
		case !apierrors.IsConflict(err):
			return 0, statusError(ref, err)
		}
		if now, err = w.read(ctx, ref, task.base.version); err != nil {
			return 0, statusError(ref, err)
		}
	}
	return firstRewrite, nil // somebody else writes all the time
}

// task is one write to do.
type task struct {
	base   *live
	want   *translate.Status
	patch  map[string]any
	undone int
	wait   time.Duration // before it may be done
}

// task returns what is to be written over the status now, or nil.
func (w *StatusWriter) task(ref translate.ObjectRef, now *live) *task {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.known {
		return nil
	}
	last := w.written[ref]
	if last != nil && last.result.uid != now.uid {
		last = nil
	}
	if last != nil && last.base == now.resourceVersion {
		now = last.result // the watch has yet to bring what we wrote
	}
	t := &task{base: now, want: w.want[ref]}
	v := verdicts{now: time.Now(), ours: func(c string) bool { return w.ours[c] }, mayServe: w.mayServe}
	t.patch = v.patch(ref, now.status, t.want)
	untouched := last != nil && equality.Semantic.DeepEqual(last.result.status, now.status)
	if t.want == nil && last != nil && last.want != nil && untouched && t.patch == nil {
		t.patch = left(ref)
	}
	if t.patch == nil || last == nil || !equality.Semantic.DeepEqual(last.want, t.want) {
		if t.patch == nil {
			return nil
		}
		return t
	}
	if untouched {
		return nil // the API server keeps it as it is: another version of the API
	}
	t.undone = last.undone + 1
	t.wait = time.Until(last.waiting)
	return t
}

// mayServe says that a Gateway is ours or gone. The lock is held.
func (w *StatusWriter) mayServe(ref translate.ObjectRef) bool {
	return w.gateways[ref] || !w.source.holds(ref)
}

// remember keeps the outcome of a write. A status that is changed back is written
// again later each time: two controllers that disagree must not race.
func (w *StatusWriter) remember(ref translate.ObjectRef, t *task, result *live) {
	w.mu.Lock()
	defer w.mu.Unlock()
	pause := min(firstRewrite<<min(t.undone, 20), lastRewrite)
	w.written[ref] = &written{
		want: t.want, patch: t.patch, base: t.base.resourceVersion, result: result,
		undone: t.undone, waiting: time.Now().Add(pause),
	}
}

func (w *StatusWriter) forget(ref translate.ObjectRef) {
	w.mu.Lock()
	delete(w.written, ref)
	delete(w.logged, ref)
	w.mu.Unlock()
}

func (w *StatusWriter) resource(ref translate.ObjectRef, version string) dynamic.ResourceInterface {
	k := findKind(schema.GroupKind{Group: ref.Group, Kind: ref.Kind})
	return w.client.Resource(schema.GroupVersionResource{Group: ref.Group, Version: version, Resource: k.plural}).Namespace(ref.Namespace)
}

// send patches the status, provided that it is still the one that was looked at.
func (w *StatusWriter) send(ctx context.Context, ref translate.ObjectRef, t *task) (*live, error) {
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": t.base.resourceVersion, "uid": t.base.uid},
		"status":   t.patch,
	})
	if err != nil {
		return nil, err
	}
	o, err := w.resource(ref, t.base.version).Patch(ctx, ref.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager}, "status")
	if err != nil {
		return nil, err
	}
	return liveOf(o, t.base.version), nil
}

// read returns the object as it is now, or nil when it is gone.
func (w *StatusWriter) read(ctx context.Context, ref translate.ObjectRef, version string) (*live, error) {
	o, err := w.resource(ref, version).Get(ctx, ref.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	return liveOf(o, version), nil
}

func liveOf(o *unstructured.Unstructured, version string) *live {
	status, _ := o.Object["status"].(map[string]any)
	return &live{uid: o.GetUID(), resourceVersion: o.GetResourceVersion(), version: version, status: status}
}
