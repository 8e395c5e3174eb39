package conductor

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// planned are the shares of the plan of world.add.
var planned = []int32{0, 500, 5000, 10000}

func TestHealthyIsPromoted(t *testing.T) {
	story(t, func(w *world) {
		kill := w.run()
		defer kill()
		w.until(rollout.Promoted, 15*time.Minute)
		s := w.status()
		if !slices.Equal(w.shares, planned) || s.Attempt != 1 {
			t.Errorf("shares %v in attempt %d", w.shares, s.Attempt)
		}
		for _, condition := range []string{Promoted, Healthy, SharesVerified} {
			if c := w.has(condition); c.Status != metav1.ConditionTrue || c.ObservedGeneration != 1 {
				t.Errorf("condition %+v", c)
			}
		}
		if w.told("Started") != 1 || w.told("Promoted") != 1 || s.Shares.Watched {
			t.Errorf("told %v, shares %+v", w.tolds, s.Shares)
		}
		writes := w.writes
		time.Sleep(2 * time.Hour)
		if w.writes != writes {
			t.Errorf("%d writes though nothing happens any more", w.writes-writes)
		}
	})
}

// One write every few seconds is enough while nothing but counts moves.
func TestWritesAreFew(t *testing.T) {
	story(t, func(w *world) {
		w.objects["chat"].Spec.Analysis.Tick = &metav1.Duration{Duration: time.Second}
		defer w.run()()
		w.until(rollout.Analyzing, time.Minute)
		time.Sleep(10 * time.Second)
		before := w.writes
		time.Sleep(time.Minute)
		if n := w.writes - before; n < 10 || n > 15 {
			t.Errorf("%d writes in a minute at a tick of a second, want one each 5 s", n)
		}
	})
}

// TestKilledAtEveryStep kills the conductor at each of its writes: before it, after
// it, and after one that seemed to fail but did not. Another one goes on. Whatever the
// instant, it all ends the same.
func TestKilledAtEveryStep(t *testing.T) {
	total := 0
	story(t, func(w *world) {
		w.hurry()
		kill := w.run()
		w.until(rollout.Promoted, 15*time.Minute)
		kill()
		total = w.writes
	})
	for at := 1; at <= total; at++ {
		for _, how := range []string{"before", "after", "unknown"} {
			t.Run(fmt.Sprint(how, at), func(t *testing.T) { killedAt(t, at, how) })
		}
	}
}

// hurry makes the plan a short one with the same shares.
func (w *world) hurry() {
	w.rps = 400
	w.objects["chat"].Spec.Steps = []cfv1a1.RolloutStep{share(5), hold(10 * time.Second), share(50), hold(10 * time.Second), share(100), soak(10 * time.Second)}
}

func killedAt(t *testing.T, at int, how string) {
	story(t, func(w *world) {
		w.hurry()
		killed := make(chan struct{})
		w.onWrite = func(n int) error {
			if n == at && how == "before" {
				close(killed)
				return errDown
			}
			if n == at+1 && how == "after" {
				close(killed)
				return errDown
			}
			return nil
		}
		if how == "unknown" {
			w.onWrite = w.answersLost(at, killed)
		}
		kill := w.run()
		select {
		case <-killed:
		case <-time.After(20 * time.Minute): // it was the last write
		}
		kill()
		w.onWrite = nil
		units := w.units()
		kill = w.run()
		defer kill()
		synctest.Wait()
		if now := w.units(); now < units {
			t.Errorf("%d units of evidence are left of %d", now, units)
		}
		w.until(rollout.Promoted, 20*time.Minute)
		if !slices.Equal(w.shares, planned) || w.attempts != 1 || len(w.state().History) != 1 {
			t.Errorf("shares %v, attempts %d, history %+v", w.shares, w.attempts, w.state().History)
		}
	})
}

// answersLost makes the at-th write happen, and its answer get lost.
func (w *world) answersLost(at int, killed chan struct{}) func(int) error {
	return func(n int) error {
		if n == at {
			w.mu.Lock()
			w.lose = true
			w.mu.Unlock()
			defer close(killed)
		}
		return nil
	}
}

// units of the candidate that are evidence.
func (w *world) units() int64 {
	for _, v := range w.status().Verdicts {
		return v.Candidate
	}
	return 0
}

// Killed every seven seconds it takes longer, and ends the same.
func TestKilledAllTheTime(t *testing.T) {
	story(t, func(w *world) {
		end := time.Now().Add(time.Hour)
		for w.status().Phase != string(rollout.Promoted) && time.Now().Before(end) {
			kill := w.run()
			time.Sleep(17 * time.Second)
			kill()
		}
		if !slices.Equal(w.shares, planned) || w.attempts != 1 {
			t.Errorf("it is %s with shares %v, attempts %d", w.status().Phase, w.shares, w.attempts)
		}
	})
}

// While statuses cannot be written nothing moves; afterwards nothing is lost.
func TestWriteFailures(t *testing.T) {
	story(t, func(w *world) {
		defer w.run()()
		w.until(rollout.Analyzing, time.Minute)
		w.mu.Lock()
		w.failing = errDown
		before, tolds := w.objects["chat"].Status.Machine, len(w.tolds)
		w.mu.Unlock()
		time.Sleep(5 * time.Minute)
		if w.status().Machine != before || len(w.tolds) != tolds {
			t.Error("something has moved without being written")
		}
		w.mu.Lock()
		w.failing = nil
		w.mu.Unlock()
		time.Sleep(7 * time.Second)
		w.mu.Lock()
		counted := int64(0)
		for _, g := range w.gateways {
			counted += g.rows["chat1"].Candidate.Arrivals
		}
		w.mu.Unlock()
		// All but what arrived since the last window was evidence.
		if seen := w.units(); seen < counted-40 || seen > counted {
			t.Errorf("%d units are evidence of %d that arrived", seen, counted)
		}
		w.until(rollout.Promoted, 15*time.Minute)
	})
}

// Somebody else writes: what was in memory is dropped.
func TestStale(t *testing.T) {
	story(t, func(w *world) {
		defer w.run()()
		w.until(rollout.Analyzing, time.Minute)
		state := w.state()
		state.Phase, state.Pause, state.Epoch = rollout.Paused, &rollout.Pause{Reason: "Elsewhere"}, 7
		w.edit("chat", func(o *cfv1a1.InferenceRollout) { o.Status.Machine = text(state) })
		time.Sleep(10 * time.Second)
		if s := w.state(); s.Pause == nil || s.Pause.Reason != "Elsewhere" {
			t.Errorf("the other's state was overwritten: %+v", s)
		}
		// A newer leader's state is never written over by an older one.
		w.epoch.Store(6)
		before := w.writes
		time.Sleep(time.Minute)
		if w.writes != before {
			t.Error("an older leader writes")
		}
	})
}

// One rollout whose writes hang holds up no other.
func TestSlowRolloutsAreAlone(t *testing.T) {
	story(t, func(w *world) {
		w.add("other")
		stuck := slowStore{w}
		c := New(Options{Gateways: w, Store: stuck, Teller: w})
		w.conductor = c
		w.set()
		ctx, cancel := context.WithCancel(w.t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		time.Sleep(12 * time.Minute)
		if s := w.status("other"); s.Phase != string(rollout.Promoted) {
			t.Errorf("the other is %s: %s", s.Phase, s.Message)
		}
		if s := w.status("chat"); s.Phase != "" {
			t.Errorf("the slow one is %s", s.Phase)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// slowStore never answers for the rollout chat.
type slowStore struct{ *world }

func (s slowStore) Write(ctx context.Context, base, next *cfv1a1.InferenceRollout) error {
	if base.Name == "chat" {
		<-ctx.Done()
		return ctx.Err()
	}
	return s.world.Write(ctx, base, next)
}

// The store says that the object is gone before Set does.
func TestGone(t *testing.T) {
	story(t, func(w *world) {
		defer w.run()()
		w.until(rollout.Analyzing, time.Minute)
		w.mu.Lock()
		w.failing = ErrGone
		w.mu.Unlock()
		time.Sleep(10 * time.Second)
		writes := w.writes
		time.Sleep(time.Hour)
		if w.writes != writes {
			t.Errorf("%d writes of what is gone", w.writes-writes)
		}
	})
}

func TestForgottenWhenDeleted(t *testing.T) {
	story(t, func(w *world) {
		defer w.run()()
		w.until(rollout.Analyzing, time.Minute)
		w.mu.Lock()
		spec := w.objects["chat"].Spec
		delete(w.objects, "chat")
		w.set()
		w.mu.Unlock()
		writes := w.writes
		time.Sleep(time.Minute)
		if w.writes != writes {
			t.Error("a rollout that is gone is written")
		}
		w.mu.Lock()
		w.objects["chat"] = &cfv1a1.InferenceRollout{ObjectMeta: metav1.ObjectMeta{Namespace: "llm", Name: "chat", Generation: 1, UID: "2"}, Spec: spec}
		w.set()
		w.mu.Unlock()
		w.until(rollout.Promoted, 15*time.Minute)
		if n := w.told("Started"); n != 2 {
			t.Errorf("%d attempts began, want one for each object", n)
		}
	})
}
