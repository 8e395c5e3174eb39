package kube

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// Options are the settings of a Source; the zero value watches for every Gateway
// of every class.
type Options struct {
	// Logger is told of kinds that come and go and of outages; nil logs nothing.
	Logger *slog.Logger
	// HoldOff is how long objects must be left alone before they are published;
	// 0 is 50 ms.
	HoldOff time.Duration
	// MaxHoldOff bounds the wait when they are not left alone; 0 is 250 ms.
	MaxHoldOff time.Duration
	// Discover is how often kinds are looked for that the API server did not
	// serve; 0 is 5 s.
	Discover time.Duration
	// RightsGrace is how long other objects wait for some that may not be read:
	// the right may be on its way; 0 is 3 s.
	RightsGrace time.Duration
	// Statuses is set for the controller: the pods of every pool are watched,
	// and the Deployments and Services of data planes, and statuses are kept for
	// a StatusWriter.
	Statuses bool
	// Only is the one Gateway that counts, for its data plane; empty is every
	// Gateway of our classes.
	Only types.NamespacedName
	// Controllers are the controllerNames of our GatewayClasses; none is every
	// class.
	Controllers []string
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.HoldOff = cmp.Or(o.HoldOff, 50*time.Millisecond)
	o.MaxHoldOff = cmp.Or(o.MaxHoldOff, 250*time.Millisecond)
	o.Discover = cmp.Or(o.Discover, 5*time.Second)
	o.RightsGrace = cmp.Or(o.RightsGrace, 3*time.Second)
	return o
}

// Source delivers the objects of an API server and follows their changes.
type Source struct {
	cfg     *rest.Config
	options Options
	log     *slog.Logger
	clients *clients
	rings   chan struct{} // holds at most one
	lookups chan struct{} // holds at most one: discover again
	running sync.WaitGroup

	mu      sync.Mutex
	dirty   bool // something changed since the last update was put together
	watches map[key]*watch
	// discovered says that served is known, or known not to be told (nil).
	discovered bool
	served     *discovery
	absent     map[schema.GroupKind]bool   // kinds that were said to be absent
	outage     bool                        // that was said
	listener   func([]translate.ObjectRef) // see onStatus
}

var _ source.Source = (*Source)(nil)

// New returns a source over the API server of cfg, see LoadConfig.
func New(cfg *rest.Config, o Options) *Source {
	o = o.withDefaults()
	return &Source{
		cfg: cfg, options: o, log: o.Logger,
		rings: make(chan struct{}, 1), lookups: make(chan struct{}, 1),
		watches: map[key]*watch{}, absent: map[schema.GroupKind]bool{},
	}
}

// Run publishes the objects as soon as all that are wanted are known, and again
// after every change that translation can see, until ctx ends. While the API
// server does not answer nothing is published: what was last known stays. It fails
// when cfg makes no client, and may be called once.
func (s *Source) Run(ctx context.Context, publish func(source.Update)) error {
	var err error
	if s.clients, err = newClients(s.cfg); err != nil {
		return fmt.Errorf("watch objects: %w", err)
	}
	d, err := newDiscovery(s.cfg, s.clients.http)
	if err != nil {
		return fmt.Errorf("watch objects: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer s.running.Wait()
	defer cancel()
	s.running.Go(func() { s.discover(ctx, d) })

	patience := time.NewTicker(min(time.Second, s.options.RightsGrace))
	defer patience.Stop()
	for ctx.Err() == nil {
		update, ready := s.look(ctx)
		if ready {
			publish(update)
		}
		s.wait(ctx, patience.C)
	}
	return nil
}

// wait returns when there is something to look at: a change, once things are
// quiet, or, while a watch is awaited, the next tick.
func (s *Source) wait(ctx context.Context, ticks <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.rings:
			settle(ctx, s.rings, s.options.HoldOff, s.options.MaxHoldOff)
			return
		case <-ticks:
			if s.patienceEnds() {
				return
			}
		}
	}
}

// settle waits until no ring came for quiet, but at most for longest.
func settle(ctx context.Context, rings <-chan struct{}, quiet, longest time.Duration) {
	deadline := time.NewTimer(longest)
	defer deadline.Stop()
	still := time.NewTimer(quiet)
	defer still.Stop()
	for {
		select {
		case <-rings:
			still.Reset(quiet)
		case <-still.C:
			return
		case <-deadline.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// noticed tells whoever waits that objects changed, and that statuses did.
func (s *Source) noticed(changed bool, judged []translate.ObjectRef) {
	s.mu.Lock()
	s.dirty = s.dirty || changed
	tell := s.listener
	s.mu.Unlock()
	if changed {
		ring(s.rings)
	}
	if len(judged) > 0 && tell != nil {
		tell(judged)
	}
}

func ring(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// look adjusts the watches to the objects known and puts these together. They are
// ready for others when they changed and no watch has yet to begin.
func (s *Source) look(ctx context.Context) (source.Update, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.discovered || !s.dirty {
		return source.Update{}, false
	}
	update := s.gather()
	if s.adjust(ctx, s.wanted(update.Resources)) {
		update = s.gather() // of watches that ended nothing is left
	}
	s.noteOutage()
	if !s.ready() {
		return source.Update{}, false
	}
	s.dirty = false
	return update, true
}

// wanted returns the watches there should be, by kind, given the objects known.
func (s *Source) wanted(r *translate.Resources) map[key]*kind {
	running := make(map[scope]key, len(s.watches)) // those of kinds that are served
	for at, w := range s.watches {
		if w.trouble != missing {
			running[at.scope] = at
		}
	}
	want := map[key]*kind{}
	add := func(k *kind, sc scope) {
		if at, ok := running[sc]; ok {
			want[at] = k
		} else {
			s.wantScope(want, k, sc)
		}
	}
	for _, k := range kinds {
		if k.base && (s.options.Statuses || !k.writers) {
			add(k, scope{GroupKind: k.groupKind()})
		}
	}
	for _, sc := range demand(r, role{statuses: s.options.Statuses, only: s.options.Only, controllers: s.options.Controllers}) {
		add(findKind(sc.GroupKind), sc)
	}
	return want
}

// wantScope adds the watch of a scope if the API server serves the kind. It is not
// asked about a watch that runs: discovery may lag behind or be wrong, and must not
// take objects away.
func (s *Source) wantScope(want map[key]*kind, k *kind, sc scope) {
	version, ok := s.served.version(k)
	if s.absent[k.groupKind()] == ok {
		s.absent[k.groupKind()] = !ok
		if ok {
			s.log.Info("kind is served now", "kind", k.resource())
		} else {
			s.log.Info("kind is not served by the API server, so it is left out", "kind", k.resource())
		}
	}
	if ok {
		want[key{sc, version}] = k
	}
}

// adjust starts and ends watches so that those wanted run, and reports whether any
// ended.
func (s *Source) adjust(ctx context.Context, want map[key]*kind) (ended bool) {
	for at, w := range s.watches {
		if want[at] == nil {
			w.cancel()
			delete(s.watches, at)
			ended = true
		}
	}
	for at, k := range want {
		if s.watches[at] != nil {
			continue
		}
		w := newWatch(s, k, at)
		var within context.Context
		within, w.cancel = context.WithCancel(ctx)
		s.watches[at] = w
		s.running.Go(func() { w.run(within) })
	}
	return ended
}

// ready says whether every watch has begun, or is known to be unable to.
func (s *Source) ready() bool {
	synced := false
	for _, w := range s.watches {
		synced = synced || w.store.synced
	}
	now := time.Now()
	for _, w := range s.watches {
		if !w.store.synced && !w.excused(now, synced) {
			return false
		}
	}
	return true
}

// patienceEnds says that time alone may have changed what there is to publish: an
// awaited watch may be excused now, or one has been refused for long.
func (s *Source) patienceEnds() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	for _, w := range s.watches {
		if _, ok := w.problem(now); ok != w.reported {
			s.dirty = true
		}
	}
	return s.dirty
}

// gather puts together what the watches hold.
func (s *Source) gather() source.Update {
	u := source.Update{Resources: &translate.Resources{}}
	// Services and pods may be in a watch by label, and in one of their namespace.
	overlap := map[schema.GroupKind]map[types.NamespacedName]bool{serviceKind: {}, podKind: {}}
	now := time.Now()
	for at, w := range s.watches {
		for name, e := range w.store.objects {
			if e.problem != nil {
				u.Problems = append(u.Problems, *e.problem)
			}
			if e.object == nil {
				continue
			}
			if twice := overlap[at.GroupKind]; twice != nil && s.options.Statuses {
				if twice[name] {
					continue
				}
				twice[name] = true
			}
			w.kind.add(u.Resources, e.object)
			if len(e.unhonoured) > 0 {
				if u.Resources.UnhonouredFields == nil {
					u.Resources.UnhonouredFields = map[translate.ObjectRef][]string{}
				}
				u.Resources.UnhonouredFields[w.store.ref(name)] = e.unhonoured
			}
		}
		p, ok := w.problem(now)
		if ok {
			u.Problems = append(u.Problems, p)
		}
		w.reported = ok
	}
	slices.SortFunc(u.Problems, func(a, b translate.Problem) int {
		return cmp.Or(translate.CompareRefs(a.Ref, b.Ref), cmp.Compare(a.Message, b.Message))
	})
	return u
}

// noteOutage logs when the API server stops answering and when it answers again.
func (s *Source) noteOutage() {
	var err error
	for _, w := range s.watches {
		if w.trouble == unreachable {
			err = w.err
		}
	}
	if (err != nil) == s.outage {
		return
	}
	if err != nil {
		s.sayOutage(err)
		return
	}
	s.outage = false
	s.log.Info("the API server answers again")
}

// sayOutage logs, once, that the API server does not answer.
func (s *Source) sayOutage(err error) {
	if !s.outage {
		s.outage = true
		s.log.Warn("the API server does not answer; what is known of it stays", "error", err)
	}
}

// discoverSoon makes discover ask again now.
func (s *Source) discoverSoon() { ring(s.lookups) }
