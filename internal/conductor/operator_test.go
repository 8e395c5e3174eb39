package conductor

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// An abort takes effect at the instant it is asked for, in every phase, though
// gateways hang and no tick comes.
func TestAbortWaitsForNothing(t *testing.T) {
	for _, phase := range []rollout.Phase{rollout.Progressing, rollout.Analyzing, rollout.Paused, rollout.Promoting, rollout.Soaking, rollout.Promoted, rollout.Superseded} {
		t.Run(string(phase), func(t *testing.T) {
			story(t, func(w *world) {
				steps := []cfv1a1.RolloutStep{share(5), hold(30 * time.Second), share(50), hold(30 * time.Second), share(100), soak(time.Minute)}
				if phase == rollout.Paused {
					steps = slices.Insert(steps, 3, gate())
				}
				w.objects["chat"].Spec.Steps = steps
				defer w.run()()
				if phase == rollout.Superseded {
					w.until(rollout.Analyzing, 5*time.Minute)
					w.edit("chat", func(o *cfv1a1.InferenceRollout) { o.Spec.Candidate.Name, o.Generation = "v3", 2 })
				}
				w.until(phase, 15*time.Minute)
				w.mu.Lock()
				w.hang = true
				w.mu.Unlock()
				time.Sleep(3 * time.Second) // a reading may hang now
				at := time.Now()
				w.ask("stop", rollout.VerbAbort)
				s := w.status()
				if s.Phase != string(rollout.Aborting) || s.Shares.Set != 0 || s.Shares.Watched || time.Since(at) != 0 {
					t.Fatalf("after %s: %s with %d: %s", time.Since(at), s.Phase, s.Shares.Set, s.Message)
				}
				time.Sleep(time.Minute)
				if w.told("ALARM AbortNotEffective") != 1 || w.has(SharesVerified).Reason != "AbortNotEffective" {
					t.Errorf("nobody was alarmed though no gateway confirms: %v", w.tolds)
				}
				w.mu.Lock()
				w.hang = false
				w.mu.Unlock()
				w.until(rollout.Aborted, time.Minute)
				time.Sleep(time.Hour)
				if s := w.status(); s.Phase != string(rollout.Aborted) || s.Shares.Set != 0 {
					t.Errorf("later it is %s", s.Phase)
				}
			})
		})
	}
}

// An abort is confirmed by every gateway within seconds, whatever the tick.
func TestAbortIsConfirmedFast(t *testing.T) {
	story(t, func(w *world) {
		w.objects["chat"].Spec.Analysis.Tick = &metav1.Duration{Duration: 30 * time.Second}
		defer w.run()()
		w.until(rollout.Analyzing, 5*time.Minute)
		w.ask("stop", rollout.VerbAbort)
		w.until(rollout.Aborted, 35*time.Second)
		if w.told("ALARM AbortNotEffective") != 0 {
			t.Error("somebody was alarmed")
		}
	})
}

// Requests stay where they are for ever, in two places; each acts once.
func TestRequestsActOnce(t *testing.T) {
	story(t, func(w *world) {
		kill := w.run()
		w.until(rollout.Analyzing, time.Minute)
		w.ask("a", rollout.VerbPause)
		if s := w.status(); s.Phase != string(rollout.Paused) || w.has(Progressing).Status != metav1.ConditionFalse {
			t.Errorf("it is %s", s.Phase)
		}
		resume := text(cfv1a1.RolloutRequest{ID: "b", Verb: "resume", Attempt: 1})
		w.edit("chat", func(o *cfv1a1.InferenceRollout) {
			o.Annotations = map[string]string{cfv1a1.RequestAnnotation: resume}
		})
		time.Sleep(20 * time.Second)
		kill()
		kill = w.run()
		defer kill()
		time.Sleep(20 * time.Second)
		if w.told("Operator") != 1 || w.told("Resumed") != 1 || w.status().Phase != string(rollout.Analyzing) {
			t.Errorf("told %v", w.tolds)
		}
		if r := w.status().Request; r == nil || r.ID != "a" {
			t.Errorf("the request is not what its author wrote: %+v", r)
		}
		w.edit("chat", func(o *cfv1a1.InferenceRollout) {
			o.Annotations = map[string]string{cfv1a1.RequestAnnotation: "{"}
		})
		if w.told("RequestUnreadable") != 1 {
			t.Errorf("told %v", w.tolds)
		}
		// Without an ID it acts once for what it says.
		w.edit("chat", func(o *cfv1a1.InferenceRollout) {
			o.Annotations = map[string]string{cfv1a1.RequestAnnotation: `{"verb":"pause","attempt":1}`}
		})
		w.ask("c", rollout.VerbResume)
		time.Sleep(time.Minute)
		if w.told("Operator") != 2 || w.told("Resumed") != 2 {
			t.Errorf("told %v", w.tolds)
		}
		w.edit("chat", func(o *cfv1a1.InferenceRollout) {
			o.Status.Request = &cfv1a1.RolloutRequest{ID: "d", Verb: "promote", Attempt: 9}
		})
		if w.told("RequestRefused") != 1 || !strings.Contains(w.status().Message, "refused") {
			t.Errorf("told %v: %s", w.tolds, w.status().Message)
		}
	})
}

func TestSetShareAndRetry(t *testing.T) {
	story(t, func(w *world) {
		defer w.run()()
		w.until(rollout.Analyzing, time.Minute)
		w.ask("a", rollout.VerbSetShare, 12.34)
		if s := w.status(); s.Shares.Set != 1234 || s.Phase != string(rollout.Paused) {
			t.Errorf("it is %s at %d", s.Phase, s.Shares.Set)
		}
		w.ask("b", rollout.VerbAbort)
		salt := w.status().Shares.Salt
		w.until(rollout.Aborted, time.Minute)
		w.ask("c", rollout.VerbRetry)
		w.until(rollout.Promoted, 15*time.Minute)
		if s := w.status(); s.Attempt != 2 || s.Shares.Salt != salt {
			t.Errorf("attempt %d, salts %s and %s", s.Attempt, salt, s.Shares.Salt)
		}
	})
}

// Steps that have not begun follow an edited plan; those that have are not repeated.
func TestPlanIsEdited(t *testing.T) {
	story(t, func(w *world) {
		defer w.run()()
		w.until(rollout.Analyzing, time.Minute)
		w.edit("chat", func(o *cfv1a1.InferenceRollout) {
			o.Spec.Steps = []cfv1a1.RolloutStep{share(1), hold(time.Hour), share(20), hold(time.Minute), share(100)}
			o.Generation = 2
		})
		if c := w.has(PlanDrift); c.Status != metav1.ConditionTrue || c.ObservedGeneration != 2 {
			t.Errorf("%+v", c)
		}
		w.until(rollout.Promoted, 15*time.Minute)
		if want := []int32{0, 500, 2000, 10000}; !slices.Equal(w.shares, want) {
			t.Errorf("shares %v, want %v", w.shares, want)
		}
	})
}

// v3 is named while v2 has a half: v2 goes to nothing first, and until then the
// shares name v2.
func TestSupersede(t *testing.T) {
	story(t, func(w *world) {
		defer w.run()()
		for w.status().Shares == nil || w.status().Shares.Set < 5000 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		time.Sleep(20 * time.Second)
		w.edit("chat", func(o *cfv1a1.InferenceRollout) { o.Spec.Candidate.Name, o.Generation = "v3", 2 })
		if s := w.status(); s.Phase != string(rollout.Superseded) || s.Shares.Candidate.Name != "v2" || s.Shares.Set != 0 || s.Attempt != 1 {
			t.Errorf("%s: %+v", s.Phase, s.Shares)
		}
		w.until(rollout.Progressing, time.Minute)
		if s := w.status(); s.Shares.Candidate.Name != "v3" || s.Shares.Set != 0 || s.Attempt != 2 {
			t.Errorf("%s: %+v", s.Phase, s.Shares)
		}
		w.until(rollout.Promoted, 15*time.Minute)
		if want := []int32{0, 500, 5000, 0, 500, 5000, 10000}; !slices.Equal(w.shares, want) {
			t.Errorf("shares %v, want %v", w.shares, want)
		}
	})
}

// A state that cannot be read is kept as it is, and the share too, until a person
// decides.
func TestUnreadableState(t *testing.T) {
	story(t, func(w *world) {
		kill := w.run()
		for w.status().Shares == nil || w.status().Shares.Set < 5000 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		kill()
		w.objects["chat"].Status.Machine = "{garbage"
		kill = w.run()
		time.Sleep(10 * time.Minute)
		kill()
		defer w.run()()
		time.Sleep(time.Minute)
		s := w.status()
		if s.Machine != "{garbage" || s.Phase != string(rollout.Paused) || s.Shares.Set != 5000 || s.Attempt != 1 || !strings.Contains(s.Message, "status.machine") {
			t.Fatalf("%s at %d in attempt %d: %s", s.Phase, s.Shares.Set, s.Attempt, s.Message)
		}
		if c := w.has(Progressing); c.Status != metav1.ConditionFalse || c.Reason != unreadable {
			t.Errorf("%+v", c)
		}
		w.ask("stop", rollout.VerbAbort)
		if s := w.status(); s.Phase != string(rollout.Aborting) || s.Shares.Set != 0 || !json.Valid([]byte(s.Machine)) {
			t.Errorf("%s at %d", s.Phase, s.Shares.Set)
		}
		w.until(rollout.Aborted, time.Minute)
	})
}

// A rollout that translation does not accept any more keeps its share and is judged.
func TestNotAccepted(t *testing.T) {
	for _, restart := range []bool{false, true} {
		story(t, func(w *world) {
			kill := w.run()
			w.until(rollout.Analyzing, time.Minute)
			w.rejected["chat"] = true
			w.edit("chat", func(o *cfv1a1.InferenceRollout) { o.Generation = 2 })
			if restart {
				kill()
				kill = w.run()
			}
			defer func() { kill() }()
			time.Sleep(20 * time.Minute)
			if s := w.status(); s.Shares.Set != 500 || w.has(Progressing).Reason != "NotAccepted" {
				t.Fatalf("%s at %d: %s", s.Phase, s.Shares.Set, s.Message)
			}
			w.mu.Lock()
			w.errors[0] = 0.5
			w.mu.Unlock()
			w.until(rollout.Aborted, time.Minute)
			if w.has(Healthy).Reason != "GuardrailFailed" {
				t.Errorf("%+v", w.has(Healthy))
			}
		})
	}
}

// One that was never accepted does not begin, and costs nothing.
func TestNeverAccepted(t *testing.T) {
	story(t, func(w *world) {
		w.rejected["chat"] = true
		defer w.run()()
		time.Sleep(time.Hour)
		if s := w.status(); s.Phase != "" || w.writes > 0 {
			t.Errorf("it is %s after %d writes", s.Phase, w.writes)
		}
		w.rejected["chat"] = false
		w.edit("chat", func(*cfv1a1.InferenceRollout) {})
		if s := w.status(); s.Phase != string(rollout.Progressing) {
			t.Errorf("it is %s", s.Phase)
		}
	})
}

// Without one gateway's counts nothing goes on; a breaker is heard all the same.
func TestGatewayMissing(t *testing.T) {
	story(t, func(w *world) {
		defer w.run()()
		w.until(rollout.Analyzing, time.Minute)
		w.mu.Lock()
		w.gateways["gw-2"].dead = true
		w.mu.Unlock()
		time.Sleep(20 * time.Minute)
		if s := w.status(); s.Shares.Set != 500 || w.has(Progressing).Reason != "MissingGateway" {
			t.Errorf("%s at %d: %s", s.Phase, s.Shares.Set, s.Message)
		}
		w.mu.Lock()
		w.gateways["gw-1"].rows["chat1"].Breaker = "10 requests in a row failed"
		w.mu.Unlock()
		time.Sleep(6 * time.Second)
		if s := w.status(); s.Phase != string(rollout.Aborting) || w.has(Healthy).Reason != "BreakerTripped" {
			t.Errorf("%s: %s", s.Phase, s.Message)
		}
		w.mu.Lock()
		clear(w.gateways)
		w.mu.Unlock()
		time.Sleep(time.Minute)
		if s := w.status(); s.Phase != string(rollout.Aborting) {
			t.Errorf("an abort was confirmed by nobody: %s", s.Message)
		}
	})
}
