package conductor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/stats"
	"crossfade.dev/internal/translate"
	"go.uber.org/goleak"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is an API server with rollouts, gateways that serve what their statuses say
// at once, and clients that send at an even rate. Clocks are those of a synctest
// bubble. It is all that a Conductor knows.
type world struct {
	t *testing.T

	mu        sync.Mutex
	conductor *Conductor
	objects   map[string]*cfv1a1.InferenceRollout // as they are stored
	rejected  map[string]bool                     // by translation
	providers []translate.Provider
	tolds     []string
	epoch     atomic.Int64

	rps      float64
	errors   [2]float64 // rates of candidate and stable
	gateways map[string]*gateway
	hang     bool // gateways do not answer

	writes   int
	failing  error             // what Write returns
	lose     bool              // the next write happens, and its answer gets lost
	onWrite  func(n int) error // called before the n-th write, for tests that interfere
	shares   []int32           // that were written, without repetitions
	attempts int64             // the highest written
}

// gateway counts as one replica does. dead: it cannot be read.
type gateway struct {
	epoch string
	dead  bool
	last  time.Time
	rest  [4]float64 // of arrivals and events that are not whole yet
	rows  map[string]*rollout.RolloutCounts
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, rps: 40, errors: [2]float64{0.005, 0.005}, objects: map[string]*cfv1a1.InferenceRollout{}, rejected: map[string]bool{}, gateways: map[string]*gateway{}}
	for _, name := range []string{"gw-1", "gw-2"} {
		w.gateways[name] = &gateway{epoch: name, last: time.Now(), rows: map[string]*rollout.RolloutCounts{}}
	}
	w.add("chat")
	return w
}

// add adds a rollout of v2 with a plan of ten minutes.
func (w *world) add(name string) {
	w.objects[name] = &cfv1a1.InferenceRollout{
		ObjectMeta: metav1.ObjectMeta{Namespace: "llm", Name: name, Generation: 1},
		Spec: cfv1a1.InferenceRolloutSpec{
			Target: cfv1a1.RolloutTarget{HTTPRoute: &cfv1a1.RolloutRouteTarget{Name: "route"}},
			Stable: cfv1a1.RolloutSide{Name: "v1"}, Candidate: cfv1a1.RolloutSide{Name: "v2"},
			Steps:    []cfv1a1.RolloutStep{share(5), hold(2 * time.Minute), share(50), hold(2 * time.Minute), share(100), soak(2 * time.Minute)},
			Analysis: cfv1a1.RolloutAnalysis{Guardrails: []cfv1a1.RolloutGuardrail{{Name: rollout.ErrorRate}}},
		},
	}
}

func share(percent float64) cfv1a1.RolloutStep {
	return cfv1a1.RolloutStep{SetShare: &cfv1a1.RolloutShare{Percent: percent}}
}

func hold(d time.Duration) cfv1a1.RolloutStep {
	return cfv1a1.RolloutStep{Hold: &cfv1a1.RolloutAnalyze{MinDuration: &metav1.Duration{Duration: d}, MaxDuration: &metav1.Duration{Duration: time.Hour}}}
}

func soak(d time.Duration) cfv1a1.RolloutStep {
	return cfv1a1.RolloutStep{Soak: &cfv1a1.RolloutSoak{Duration: metav1.Duration{Duration: d}}}
}

func gate() cfv1a1.RolloutStep { return cfv1a1.RolloutStep{Pause: &cfv1a1.RolloutPause{}} }

// run starts a conductor, as a new process would be; the returned function kills it.
func (w *world) run(transport ...http.RoundTripper) (kill func()) {
	o := Options{Gateways: w, Store: w, Teller: w, Epoch: w.epoch.Load}
	for _, t := range transport {
		o.Transport = t
	}
	c := New(o)
	w.mu.Lock()
	w.conductor = c
	w.set()
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error)
	go func() { ended <- c.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	}
}

// set hands the conductor the objects, as a build does. The lock is held.
func (w *world) set() {
	var all []*cfv1a1.InferenceRollout
	var followed []translate.Rollout
	for name, o := range w.objects {
		copied := *o
		all = append(all, &copied)
		plan, errs := translate.PlanOf(&copied)
		if len(errs) > 0 {
			w.t.Error(errs)
		}
		if !w.rejected[name] {
			followed = append(followed, translate.Rollout{Generation: o.Generation, Plan: plan, Object: &copied, Providers: w.providers})
		}
	}
	w.conductor.Set(followed, all)
}

// edit changes a rollout, as kubectl does, and waits until nothing more happens at
// this instant.
func (w *world) edit(name string, change func(o *cfv1a1.InferenceRollout)) {
	w.mu.Lock()
	o := *w.objects[name]
	change(&o)
	w.objects[name] = &o
	w.set()
	w.mu.Unlock()
	synctest.Wait()
}

// ask writes a verb into the status.
func (w *world) ask(id string, verb rollout.Verb, percent ...float64) {
	w.edit("chat", func(o *cfv1a1.InferenceRollout) {
		o.Status.Request = &cfv1a1.RolloutRequest{ID: id, Verb: string(verb), Attempt: o.Status.Attempt, By: "ann"}
		for _, p := range percent {
			o.Status.Request.Percent = p
		}
	})
}

// status is what is stored.
func (w *world) status(name ...string) *cfv1a1.InferenceRolloutStatus {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.objects[append(name, "chat")[0]].Status
	return &s
}

func (w *world) state() *rollout.State {
	s, err := StateOf(w.status())
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// until lets time pass until the rollout is in a phase.
func (w *world) until(phase rollout.Phase, atMost time.Duration) {
	w.t.Helper()
	for end := time.Now().Add(atMost); w.status().Phase != string(phase); {
		if !time.Now().Before(end) {
			w.t.Fatalf("after %s it is %s, want %s: %s", atMost, w.status().Phase, phase, w.status().Message)
		}
		time.Sleep(time.Second)
		synctest.Wait()
	}
}

func (w *world) has(condition string) metav1.Condition {
	for _, c := range w.status().Conditions {
		if c.Type == condition {
			return c
		}
	}
	w.t.Fatalf("there is no condition %s", condition)
	return metav1.Condition{}
}

// Write implements Store as the API server's does.
func (w *world) Write(ctx context.Context, base, next *cfv1a1.InferenceRollout) error {
	w.mu.Lock()
	w.writes++
	n, interfere := w.writes, w.onWrite
	w.mu.Unlock()
	if interfere != nil {
		if err := interfere(n); err != nil {
			return err
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if w.failing != nil {
		return w.failing
	}
	return w.store(base, next)
}

func (w *world) store(base, next *cfv1a1.InferenceRollout) error {
	live := w.objects[base.Name]
	switch {
	case live == nil || live.UID != base.UID:
		return ErrGone
	case live.Status.Machine != base.Status.Machine:
		return ErrStale
	}
	w.count()
	o := *live
	o.Status = next.Status
	o.Status.Request = live.Status.Request
	w.objects[base.Name] = &o
	if s := o.Status.Shares; s != nil && (len(w.shares) == 0 || w.shares[len(w.shares)-1] != s.Set) {
		w.shares = append(w.shares, s.Set)
	}
	w.attempts = max(w.attempts, o.Status.Attempt)
	w.set()
	if w.lose {
		w.lose = false
		return errDown
	}
	return nil
}

// Tell implements Teller.
func (w *world) Tell(_ *cfv1a1.InferenceRollout, reason, message string, alarm bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if alarm {
		reason = "ALARM " + reason
	}
	w.tolds = append(w.tolds, reason)
	w.t.Logf("%s %s: %s", time.Now().Format(time.TimeOnly), reason, message)
}

func (w *world) told(reason string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, x := range w.tolds {
		if x == reason {
			n++
		}
	}
	return n
}

// Counts implements Gateways.
func (w *world) Counts(ctx context.Context, r *translate.Rollout) map[string]*rollout.Counts {
	w.mu.Lock()
	hang := w.hang
	w.mu.Unlock()
	if hang {
		<-ctx.Done()
		return map[string]*rollout.Counts{"gw-1": nil, "gw-2": nil}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count()
	out := map[string]*rollout.Counts{}
	for name, g := range w.gateways {
		out[name] = nil
		if !g.dead {
			out[name] = g.counts(r.Plan.Name)
		}
	}
	return out
}

func (g *gateway) counts(of string) *rollout.Counts {
	out := &rollout.Counts{Epoch: g.epoch, At: time.Now()}
	for _, row := range g.rows {
		if row.Rollout == of {
			x := *row
			x.Samples = map[string]map[string]rollout.Sample{}
			for metric, strata := range row.Samples {
				x.Samples[metric] = map[string]rollout.Sample{"": strata[""]}
			}
			out.Rollouts = append(out.Rollouts, x)
		}
	}
	return out
}

// count counts what has arrived since the last time, at the shares that were served
// until now. The lock is held.
func (w *world) count() {
	for _, g := range w.gateways {
		passed := time.Since(g.last).Seconds()
		g.last = time.Now()
		for _, o := range w.objects {
			if o.Status.Shares != nil {
				g.serve(o, passed*w.rps/float64(len(w.gateways)), w.errors)
			}
		}
	}
}

// serve counts n requests; fractions are kept for later.
func (g *gateway) serve(o *cfv1a1.InferenceRollout, n float64, rates [2]float64) {
	s := o.Status.Shares
	key := fmt.Sprint(o.Name, s.Attempt)
	row := g.rows[key]
	if row == nil {
		row = &rollout.RolloutCounts{Rollout: o.Namespace + "/" + o.Name, Attempt: s.Attempt, Samples: map[string]map[string]rollout.Sample{rollout.ErrorRate: {"": {}}}}
		g.rows[key] = row
	}
	row.Revision = s.Revision
	x := row.Samples[rollout.ErrorRate][""]
	for arm, part := range []float64{float64(s.Set) / 10000, 1 - float64(s.Set)/10000} {
		g.rest[arm] += n * part
		whole := math.Floor(g.rest[arm])
		g.rest[arm] -= whole
		g.rest[2+arm] += whole * rates[arm]
		bad := min(math.Floor(g.rest[2+arm]), whole)
		g.rest[2+arm] -= bad
		at, tally := &row.Candidate, &x.Table.Candidate
		if arm == 1 {
			at, tally = &row.Stable, &x.Table.Stable
		}
		at.Arrivals += int64(whole)
		at.Known, at.Ready = true, 4
		*tally = tally.Add(stats.Tally{Units: int64(whole), Events: int64(bad)})
	}
	row.Samples[rollout.ErrorRate][""] = x
}

var errDown = errors.New("the API server is down")

// story runs a test in a bubble of its own time.
func story(t *testing.T, tell func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { tell(newWorld(t)) })
}
