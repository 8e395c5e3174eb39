package conductor

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/translate"
)

// Gateways are read for what they have counted.
type Gateways interface {
	// Counts returns the counts of every gateway replica that serves the rollout,
	// by a name for people; nil for one that cannot be read before ctx ends. An
	// empty map: none is known. It is called for several rollouts at a time.
	Counts(ctx context.Context, r *translate.Rollout) map[string]*rollout.Counts
}

// Store keeps statuses.
type Store interface {
	// Write makes next's status that of the object, but for its request and its
	// conditions of other types than ours. base is the object with the status that
	// next was made from. It returns ErrStale when the object's status.machine is no
	// longer that of base, or its epoch is higher than next's, and ErrGone when there
	// is no such object (its UID is another one); any other error means that the
	// write may not have happened. Both objects are the Store's to keep, not to
	// change. It is called for several rollouts at a time, for each one at a time.
	Write(ctx context.Context, base, next *cfv1a1.InferenceRollout) error
}

// What Store.Write returns beside other errors.
var (
	ErrStale = errors.New("somebody else has written the status meanwhile")
	ErrGone  = errors.New("the rollout is gone")
)

// Teller tells people what has happened: a log, or events of the API server.
type Teller interface {
	// Tell says what has happened to o. reason is one word in CamelCase; an alarm
	// has to reach somebody at once. It does not wait for anything.
	Tell(o *cfv1a1.InferenceRollout, reason, message string, alarm bool)
}

// Options are what a Conductor needs. Gateways, Store and Teller are required.
type Options struct {
	Gateways Gateways
	Store    Store
	Teller   Teller
	// Epoch is how often the lead has changed hands, so that the writes of an older
	// leader are told from those of a newer one. nil: there is one writer only.
	Epoch func() int64
	// Transport asks providers; nil: one of its own, which is closed with Run.
	Transport http.RoundTripper
	// Log takes what goes wrong; nil discards it.
	Log *slog.Logger
}

// Conductor follows all rollouts.
type Conductor struct {
	o     Options
	asker *asker
	rung  chan struct{} // Set was called

	mu     sync.Mutex
	wanted map[string]subject
}

// subject is one rollout as the last Set has it.
type subject struct {
	object *cfv1a1.InferenceRollout
	// accepted is nil where translation does not follow it.
	accepted *translate.Rollout
}

// New makes a Conductor that follows nothing yet.
func New(o Options) *Conductor {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Epoch == nil {
		o.Epoch = func() int64 { return 0 }
	}
	return &Conductor{o: o, asker: newAsker(o.Transport), rung: make(chan struct{}, 1)}
}

// Set says which rollouts there are: all objects with their statuses as last read,
// and those of them that translation follows. It is to be called with each picture
// of the objects, and also while Run does not run. Objects are not changed.
//
// One that is no longer among all is forgotten. One that is, but is not followed any
// more (its target is gone, its plan has become invalid), keeps what it has: the plan
// that was last followed goes on to judge and to obey, and can abort, but nothing
// goes on.
func (c *Conductor) Set(followed []translate.Rollout, all []*cfv1a1.InferenceRollout) {
	accepted := make(map[*cfv1a1.InferenceRollout]*translate.Rollout, len(followed))
	for i := range followed {
		accepted[followed[i].Object] = &followed[i]
	}
	wanted := make(map[string]subject, len(all))
	for _, o := range all {
		if o != nil {
			wanted[identity(o)] = subject{object: o, accepted: accepted[o]}
		}
	}
	c.mu.Lock()
	c.wanted = wanted
	c.mu.Unlock()
	select {
	case c.rung <- struct{}{}:
	default:
	}
}

// identity tells objects apart, also one from its namesake that was deleted.
func identity(o *cfv1a1.InferenceRollout) string {
	return o.Namespace + "/" + o.Name + "/" + string(o.UID)
}

// Run follows the rollouts that Set names until ctx ends. On a cluster it runs while
// this process leads. It begins with the statuses that Set has last read.
func (c *Conductor) Run(ctx context.Context) error {
	workers := map[string]*worker{}
	var running sync.WaitGroup
	defer func() {
		for _, w := range workers {
			w.stop()
		}
		running.Wait()
		c.asker.close()
	}()
	for {
		c.sync(ctx, workers, &running)
		select {
		case <-ctx.Done():
			return nil
		case <-c.rung:
		}
	}
}

// sync makes workers those that are wanted, and tells each what it is about.
func (c *Conductor) sync(ctx context.Context, workers map[string]*worker, running *sync.WaitGroup) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, w := range workers {
		if _, ok := c.wanted[id]; !ok {
			w.stop()
			delete(workers, id)
		}
	}
	for id, s := range c.wanted {
		w := workers[id]
		if w == nil {
			work, stop := context.WithCancel(ctx)
			w = newWorker(c, stop)
			workers[id] = w
			running.Go(func() { w.run(work) })
		}
		w.put(s)
	}
}
