package warmup

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/tally"
)

// Limits. A first request may wait for a compiler.
const (
	atOnce     = 4               // requests of a rollout under way, to one endpoint each
	patience   = 3 * time.Minute // for one answer
	maxAnswer  = 4 << 20         // bytes of it that are read
	firstPause = time.Second     // after a failure
	lastPause  = 30 * time.Second
)

// Options of a Runner.
type Options struct {
	// Transport returns the client for a pool that is not spoken to over HTTP/1.1 in
	// clear text (routing.Pool.Plain); nil: such pools cannot be warmed up.
	Transport func(*routing.Pool, *routing.Identity) http.RoundTripper
	Logger    *slog.Logger // nil discards
}

// Runner warms up candidates. It is safe for concurrent use.
type Runner struct {
	opts  Options
	plain *http.Transport
	wake  chan struct{}

	mu     sync.Mutex
	slots  map[string]chan struct{} // by rollout: one that hangs must not hold up others
	wanted map[target]order
	done   map[target]*progress
}

// target is one endpoint in one attempt's warm-up.
type target struct {
	rollout string
	attempt int64
	address string
}

// order is what is wanted of a target.
type order struct {
	requests int
	probes   []routing.Probe
	pool     *routing.Pool
	identity *routing.Identity
	model    string // "": that of the pool
	lacking  bool   // it is known not to serve the model yet
	slots    chan struct{}
}

// progress is how far a target is.
type progress struct {
	good   int
	steady bool
}

// New returns a Runner that does nothing until Run.
func New(opts Options) *Runner {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return &Runner{
		opts: opts, slots: map[string]chan struct{}{}, wake: make(chan struct{}, 1),
		plain: &http.Transport{
			DialContext: (&net.Dialer{Timeout: 10 * time.Second}).DialContext, DisableCompression: true,
			IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 64 << 10,
		},
		wanted: map[target]order{}, done: map[target]*progress{},
	}
}

// Set says what the snapshot that is served asks for. Warm-ups that it does not ask
// for end at once, and what they did is forgotten.
func (r *Runner) Set(splits []tally.Split) {
	wanted := map[target]order{}
	for i := range splits {
		s := &splits[i]
		if a := s.Assignment; a.Warmup != nil && s.Candidate != nil {
			addOrders(wanted, s)
		}
	}
	r.mu.Lock()
	slots := map[string]chan struct{}{}
	for t, o := range wanted {
		if slots[t.rollout] == nil {
			if slots[t.rollout] = r.slots[t.rollout]; slots[t.rollout] == nil {
				slots[t.rollout] = make(chan struct{}, atOnce)
			}
		}
		o.slots = slots[t.rollout]
		wanted[t] = o
	}
	r.wanted, r.slots = wanted, slots
	for t := range r.done {
		if _, ok := wanted[t]; !ok {
			delete(r.done, t)
		}
	}
	for t := range wanted {
		if r.done[t] == nil {
			r.done[t] = &progress{}
		}
	}
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it looks anyway
	}
}

func addOrders(wanted map[target]order, s *tally.Split) {
	w := s.Assignment.Warmup
	lacking := map[string]bool{}
	for _, e := range s.Lacking() {
		lacking[e] = true
	}
	for i := range s.Candidate.Endpoints {
		address := s.Candidate.Endpoints[i].Address
		t := target{s.Assignment.Rollout, s.Assignment.Attempt, address}
		if before, ok := wanted[t]; ok && before.identity != nil {
			continue // another listener's split of the same rollout
		}
		wanted[t] = order{requests: w.Requests, probes: w.Probes, pool: s.Candidate, identity: s.Identity, model: s.CandidateModel, lacking: lacking[address]}
	}
}

// Warm returns how many requests each endpoint of an attempt's candidate has answered
// well, by address, and whether all have become steady; nil where no warm-up is asked
// for.
func (r *Runner) Warm(rollout string, attempt int64) (good map[string]int, steady bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for t, p := range r.done {
		if t.rollout != rollout || t.attempt != attempt {
			continue
		}
		if good == nil {
			good, steady = map[string]int{}, true
		}
		good[t.address] = p.good
		steady = steady && p.steady
	}
	return good, steady
}

// Run warms up until ctx ends.
func (r *Runner) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	running := map[target]work{}
	var group sync.WaitGroup
	defer r.plain.CloseIdleConnections()
	defer group.Wait()
	defer stop()
	for {
		r.mu.Lock()
		for t, w := range running {
			if o, ok := r.wanted[t]; !ok || o.lacking || o.requests > w.requests || r.done[t] != w.progress {
				w.stop()
				delete(running, t)
			}
		}
		for t, o := range r.wanted {
			if _, ok := running[t]; !ok && !o.lacking {
				own, stop := context.WithCancel(ctx)
				p := r.done[t]
				running[t] = work{stop, o.requests, p}
				group.Go(func() { r.warm(own, t, p) })
			}
		}
		r.mu.Unlock()
		select {
		case <-r.wake:
		case <-ctx.Done():
			return nil
		}
	}
}

// work is one target's goroutine, which may be done.
type work struct {
	stop     context.CancelFunc
	requests int       // that it was started for
	progress *progress // that it moves; another one when the wish went away and came back
}

// order returns what is wanted of a target now.
func (r *Runner) order(t target) (order, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, ok := r.wanted[t]
	return o, ok
}

// warm sends requests to one endpoint until it is warm.
func (r *Runner) warm(ctx context.Context, t target, p *progress) {
	log := r.opts.Logger.With("rollout", t.rollout, "attempt", t.attempt, "endpoint", t.address)
	c := newCourse()
	for failures := 0; ctx.Err() == nil; {
		o, ok := r.order(t)
		if !ok {
			return
		}
		if !o.pool.Inference && len(o.probes) == 0 {
			log.Info("nothing to warm up: its pool is no InferencePool, and the rollout names no requests for it")
			r.record(p, progress{o.requests, true})
			return
		}
		steady := c.steady(o.requests)
		r.record(p, progress{c.good, steady})
		if steady && c.good >= o.requests {
			log.Info("endpoint is warm", "requests", c.good)
			return
		}
		err := r.once(ctx, &o, t.address, c)
		if err == nil || ctx.Err() != nil {
			continue
		}
		if failures++; failures == 1 {
			log.Warn("a request of the warm-up failed; further failures of this endpoint are not told", "error", err)
		}
		select {
		case <-time.After(pause(failures)):
		case <-ctx.Done():
		}
	}
}

// pause is how long to wait after so many failures.
func pause(failures int) time.Duration { return min(firstPause<<min(failures-1, 10), lastPause) }

// record notes how far a target is.
func (r *Runner) record(p *progress, now progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*p = now
}
