package conductor

import (
	"encoding/json"
	"testing"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
)

// A leader whose clock was far ahead leaves instants behind that have not come yet. The
// next one judges and aborts all the same.
func TestClockWasAhead(t *testing.T) {
	story(t, func(w *world) {
		kill := w.run()
		w.until(rollout.Analyzing, 5*time.Minute)
		kill()
		state := w.state()
		ahead := func(at *time.Time) { *at = at.Add(365 * 24 * time.Hour) }
		for _, at := range []*time.Time{&state.At, &state.Started, &state.StepStarted, &state.Share.Since, &state.Share.InForce, &state.Last.To} {
			ahead(at)
		}
		for _, b := range state.Books {
			ahead(&b.Since)
		}
		text, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		o := *w.objects["chat"]
		o.Status.Machine = string(text)
		w.objects["chat"] = &o
		w.errors[0] = 0.5
		defer w.run()()
		w.until(rollout.Aborted, 15*time.Minute)
		if got := w.state().At; got.After(time.Now()) {
			t.Errorf("it is still %s there", got)
		}
	})
}

// A rollout that was gone when its status was to be written, and is there again, is
// followed.
func TestGoneForAMoment(t *testing.T) {
	story(t, func(w *world) {
		defer w.run()()
		w.until(rollout.Analyzing, 5*time.Minute)
		w.mu.Lock()
		w.failing = ErrGone
		w.mu.Unlock()
		time.Sleep(time.Minute)
		w.mu.Lock()
		w.failing = nil
		w.mu.Unlock()
		w.edit("chat", func(*cfv1a1.InferenceRollout) {})
		w.ask("x", rollout.VerbAbort)
		w.until(rollout.Aborted, time.Minute)
	})
}
