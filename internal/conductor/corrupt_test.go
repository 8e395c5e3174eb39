package conductor

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/translate"
)

// Whatever a status.machine says that is JSON of the right shape, by a person's hand or
// another version's, it is followed without a fault, its status can be written, and an
// abort takes all from the candidate.
func TestDamagedMachines(t *testing.T) {
	story(t, func(w *world) {
		kill := w.run()
		defer func() { kill() }()
		w.until(rollout.Analyzing, 5*time.Minute)
		time.Sleep(time.Minute)
		kill()
		kill = func() {}
		o := *w.objects["chat"]
		plan, errs := translate.PlanOf(&o)
		if len(errs) > 0 {
			t.Fatal(errs)
		}
		whole := o.Status.Machine
		random := rand.New(rand.NewPCG(7, 7))
		for range 500 {
			var tree any
			if err := json.Unmarshal([]byte(whole), &tree); err != nil {
				t.Fatal(err)
			}
			for range 1 + random.IntN(3) {
				tree = damage(random, tree)
			}
			text, err := json.Marshal(tree)
			if err != nil {
				t.Fatal(err)
			}
			w.survives(&o, &plan, string(text))
			if t.Failed() {
				return
			}
		}
	})
}

// survives takes a machine's text through some steps.
func (w *world) survives(o *cfv1a1.InferenceRollout, plan *rollout.Plan, text string) {
	defer func() {
		if fault := recover(); fault != nil {
			w.t.Errorf("%v, with %s", fault, text)
		}
	}()
	state, err := StateOf(&cfv1a1.InferenceRolloutStatus{Machine: text})
	if err != nil {
		return // the worker pauses
	}
	state.Rewind(time.Now())
	steps := []rollout.Event{{}, {Observation: window(time.Now())}, {Request: &rollout.Request{ID: "1", Verb: rollout.VerbResume, Attempt: state.Number}},
		{Observation: window(time.Now().Add(time.Minute))}, {Request: &rollout.Request{ID: "2", Verb: rollout.VerbAbort}}}
	for i, e := range steps {
		e.At = time.Now().Add(time.Duration(i) * time.Second)
		state, _ = rollout.Step(plan, state, e)
		if _, err := StatusOf(o, plan, state); err != nil {
			w.t.Errorf("%v, with %s", err, text)
		}
	}
	if state.Share.Set != 0 {
		w.t.Errorf("after an abort the share is %s, phase %s, with %s", state.Share.Set, state.Phase, text)
	}
}

func window(to time.Time) *rollout.Observation {
	return &rollout.Observation{From: to.Add(-5 * time.Second), To: to}
}

// damage changes one value of a tree.
func damage(random *rand.Rand, v any) any {
	values := []any{nil, -1.0, 0.0, 1e18, 1e300, -1e300, "", "x", true, []any{}, map[string]any{}, "0001-01-01T00:00:00Z", "9999-12-31T00:00:00Z"}
	switch x := v.(type) {
	case map[string]any:
		if len(x) == 0 {
			break
		}
		names := make([]string, 0, len(x))
		for name := range x {
			names = append(names, name)
		}
		slices.Sort(names)
		name := names[random.IntN(len(names))]
		x[name] = damage(random, x[name])
		return x
	case []any:
		if len(x) == 0 {
			break
		}
		i := random.IntN(len(x))
		x[i] = damage(random, x[i])
		return x
	}
	return values[random.IntN(len(values))]
}
