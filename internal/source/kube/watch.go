package kube

import (
	"context"
	"errors"
	"fmt"
	"time"

	"crossfade.dev/internal/translate"
	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	apiwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// trouble is why a watch does not get on.
type trouble int

const (
	none        trouble = iota
	forbidden           // we may not read it
	missing             // the API server does not know the kind
	refused             // the API server answers with another error
	unreachable         // it does not answer
)

// troubleOf sorts the error of a request.
func troubleOf(err error) trouble {
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return none
	case apierrors.IsForbidden(err):
		return forbidden
	case apierrors.IsNotFound(err):
		return missing
	case apierrors.IsUnauthorized(err), apierrors.IsTooManyRequests(err), apierrors.IsServiceUnavailable(err):
		return unreachable
	case errors.As(err, &status):
		return refused
	}
	return unreachable
}

// key tells watches apart.
type key struct {
	scope
	version string
}

// watch keeps a store filled with what its scope covers.
type watch struct {
	key
	kind   *kind
	source *Source
	store  *store
	cancel context.CancelFunc

	// The fields below are guarded by the lock of the source.
	trouble  trouble
	err      error
	since    time.Time // when it started or last was without trouble
	reported bool      // the last update has a problem of it
}

func newWatch(s *Source, k *kind, at key) *watch {
	return &watch{
		key: at, kind: k, source: s, since: time.Now(),
		store: &store{kind: k, version: at.version, source: s, objects: map[types.NamespacedName]*entry{}},
	}
}

// Waits between attempts; the first follows at once where all was well before.
const (
	firstRetry = 100 * time.Millisecond
	lastRetry  = 10 * time.Second
	// earlyRetry and rightsRetry are the longest for a single object that may not be
	// read, in the first seconds and later: the controller gives data planes the
	// right to what their Gateways begin to refer to, a moment after they see it
	// themselves.
	earlyRetry  = 250 * time.Millisecond
	rightsRetry = time.Second
)

// run lists and watches until ctx ends. Whatever fails, the store keeps what it
// holds until a list replaces it.
func (w *watch) run(ctx context.Context) {
	log := logr.FromSlogHandler(w.source.log.Handler())
	ctx = klog.NewContext(ctx, log)
	reflector := cache.NewReflectorWithOptions(w.observed(), nil, w.store, cache.ReflectorOptions{
		Logger: &log, Name: w.kind.resource(), TypeDescription: w.kind.name,
		Backoff: &wait.Backoff{Duration: firstRetry, Cap: lastRetry, Steps: 100, Factor: 2, Jitter: 0.5},
	})
	pause := wait.Backoff{Duration: firstRetry, Cap: lastRetry, Steps: 100, Factor: 2, Jitter: 0.5}
	next := pause
	for ctx.Err() == nil {
		if err := reflector.ListAndWatchWithContext(ctx); err == nil {
			next = pause
		}
		select {
		case <-ctx.Done():
		case <-time.After(w.pause(next.Step())):
		}
	}
}

// pause is how long to wait before the next attempt, at most d.
func (w *watch) pause(d time.Duration) time.Duration {
	w.source.mu.Lock()
	defer w.source.mu.Unlock()
	switch {
	case w.trouble != forbidden || w.name == "":
		return d
	case time.Since(w.since) < grace:
		return min(d, earlyRetry)
	}
	return min(d, rightsRetry)
}

// observed is the watch's requests, their errors noted on the way.
func (w *watch) observed() *cache.ListWatch {
	inner := w.source.clients.listWatch(w.kind, w.version, w.scope)
	return &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			l, err := inner.ListWithContext(ctx, o)
			if err != nil { // a list that succeeds may still lack the right to watch
				w.note(ctx, err)
			}
			return l, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (apiwatch.Interface, error) {
			i, err := inner.WatchWithContext(ctx, o)
			if o.SendInitialEvents == nil || !apierrors.IsInvalid(err) && !apierrors.IsBadRequest(err) {
				w.note(ctx, err) // else the server has no streaming lists, and a list follows
			}
			return i, err
		},
	}
}

// note keeps what became of a request.
func (w *watch) note(ctx context.Context, err error) {
	if ctx.Err() != nil || apierrors.IsResourceExpired(err) || apierrors.IsGone(err) {
		return // a list from the start follows
	}
	t := troubleOf(err)
	s := w.source
	s.mu.Lock()
	changed := w.trouble != t
	if t == none {
		w.since = time.Now()
	}
	w.trouble, w.err = t, err
	if changed && t == forbidden && w.awaited() { // else it is a problem of an update
		s.log.Warn("nothing can be served yet: objects are not to be read", "kind", w.kind.resource(), "error", err)
	}
	s.mu.Unlock()
	if t == missing {
		s.discoverSoon()
	}
	if changed {
		s.noticed(true, nil)
	}
}

// grace is how long other objects wait for those of a watch that the API server
// keeps refusing.
const grace = 10 * time.Second

// awaited says that others wait for w however long it is forbidden.
func (w *watch) awaited() bool {
	return w.kind.vital && !w.source.options.Statuses && !w.store.synced
}

// excused says that the others need not wait for w: it is known not to get on,
// though the API server is there, as othersSync says.
func (w *watch) excused(now time.Time, othersSync bool) bool {
	switch w.trouble {
	case forbidden:
		return !w.awaited() && now.Sub(w.since) >= w.source.options.RightsGrace
	case refused, missing:
		return othersSync && now.Sub(w.since) >= grace
	}
	return false
}

// problem says what is wrong with w, if a person must do something about it.
func (w *watch) problem(now time.Time) (translate.Problem, bool) {
	where := ""
	if w.namespace != "" {
		where = " in namespace " + w.namespace
	}
	p := translate.Problem{
		Severity: translate.Error,
		Ref:      translate.ObjectRef{Group: w.Group, Kind: w.Kind, Namespace: w.namespace, Name: w.name},
	}
	if w.name == "" {
		p.Ref.Name = "*"
	}
	effect := "so none are known"
	if w.store.synced {
		effect = "so changes are not seen"
	}
	switch {
	case w.trouble == forbidden:
		p.Message = fmt.Sprintf("list and watch of %s%s are forbidden, %s", w.kind.resource(), where, effect)
		p.Remedy = fmt.Sprintf("grant list and watch of %s%s to this ServiceAccount", w.kind.resource(), where)
	case w.trouble == refused && now.Sub(w.since) >= grace:
		p.Message = fmt.Sprintf("the API server does not hand out %s%s, %s: %s", w.kind.resource(), where, effect, withoutValue(w.err))
		p.Remedy = "see what the API server says of it, such as a conversion webhook that does not answer"
	default:
		return p, false
	}
	return p, true
}
