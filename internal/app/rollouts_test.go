package app

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/conductor"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func object(name string) *cfv1a1.InferenceRollout {
	return &cfv1a1.InferenceRollout{ObjectMeta: metav1.ObjectMeta{Namespace: "llm", Name: name, Generation: 1}}
}

// testRollouts are rollouts whose bell counts.
func testRollouts(path string) (r *rollouts, rings *atomic.Int32) {
	rings = new(atomic.Int32)
	return newRollouts(path, func() { rings.Add(1) }, slog.New(slog.DiscardHandler)), rings
}

// write makes a status with a phase and a machine's text that of an object.
func (r *rollouts) write(name, phase, machine string) error {
	base := object(name)
	if now, _, _ := r.look(nameOf(base)); now != nil {
		base.Status = now.Status
	}
	next := *base
	next.Status.Phase, next.Status.Machine = phase, machine
	return r.Write(context.Background(), base, &next)
}

func TestStatusesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	r, rings := testRollouts(path)
	if out, problems, ok := r.apply([]*cfv1a1.InferenceRollout{object("a"), object("b")}, false); len(out) != 2 || len(problems) > 0 || !ok {
		t.Fatal(out, problems, ok)
	}
	for _, name := range []string{"a", "b"} {
		if err := r.write(name, "Progressing", `{"step":1}`); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.write("a", "Progressing", `{"step":1,"at":"2026-08-01T12:00:00Z"}`); err != nil {
		t.Fatal(err)
	}
	if rings.Load() != 2 {
		t.Errorf("%d builds were asked for, want one for each change that gateways can see", rings.Load())
	}
	stale := object("a")
	if err := r.Write(t.Context(), stale, stale); !errors.Is(err, conductor.ErrStale) {
		t.Errorf("a stale write: %v", err)
	}
	if err := r.write("c", "Progressing", ""); !errors.Is(err, conductor.ErrGone) {
		t.Errorf("a write of what is not there: %v", err)
	}
	r.close()

	r, _ = testRollouts(path)
	defer r.close()
	// The files have errors: what is absent may come back.
	out, _, _ := r.apply([]*cfv1a1.InferenceRollout{object("a")}, true)
	if out[0].Status.Phase != "Progressing" || len(r.statuses) != 2 {
		t.Errorf("%+v of %d", out[0].Status, len(r.statuses))
	}
	synctest.Test(t, func(t *testing.T) {
		var rings atomic.Int32
		r.ring = func() { rings.Add(1) }
		r.apply(nil, false)
		time.Sleep(absence - 1)
		r.apply(nil, false)
		if len(r.statuses) != 2 || rings.Load() != 0 {
			t.Errorf("%d are remembered for a while, after %d builds", len(r.statuses), rings.Load())
		}
		time.Sleep(time.Second)
		if rings.Load() != 1 {
			t.Errorf("%d builds were asked for to forget them", rings.Load())
		}
		r.apply(nil, false)
		if len(r.statuses) != 0 || len(r.absent) != 0 {
			t.Error("rollouts that are gone are remembered")
		}
	})
	r.close()
	_, list := mustOpen(t, path)
	if len(list) != 0 {
		t.Errorf("the file remembers %+v", list)
	}
}

// What is left of rollouts that have gone while nothing ran is forgotten too.
func TestLeftoversAreForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	r, _ := testRollouts(path)
	r.apply([]*cfv1a1.InferenceRollout{object("a")}, false)
	if err := r.write("a", "Promoted", "{}"); err != nil {
		t.Fatal(err)
	}
	r.close()
	synctest.Test(t, func(t *testing.T) {
		r, _ = testRollouts(path)
		r.apply(nil, false)
		time.Sleep(absence)
		r.apply(nil, false)
		out, _, _ := r.apply([]*cfv1a1.InferenceRollout{object("a")}, false)
		if out[0].Status.Phase != "" {
			t.Errorf("it goes on as %s", out[0].Status.Phase)
		}
		r.close()
	})
}

// A rollout whose file is empty for a moment, as while it is being written, is what it
// was when it comes back.
func TestRolloutsMayBeAbsentForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, _ := testRollouts("")
		for range 3 {
			r.apply([]*cfv1a1.InferenceRollout{object("a")}, false)
			if err := r.write("a", "Aborted", "{}"); err != nil {
				t.Fatal(err)
			}
			r.apply(nil, false)
			time.Sleep(absence / 2)
		}
		out, _, _ := r.apply([]*cfv1a1.InferenceRollout{object("a")}, false)
		if out[0].Status.Phase != "Aborted" {
			t.Errorf("it begins anew as %q", out[0].Status.Phase)
		}
	})
}

// A disk that takes nothing keeps rollouts from going on, but not from being aborted.
func TestAbortNeedsNoDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	path := filepath.Join(dir, "state.json")
	synctest.Test(t, func(t *testing.T) {
		r, rings := testRollouts(path)
		defer r.close()
		shares := func(phase, machine string, share int32) error {
			base := object("a")
			now, _, _ := r.look(nameOf(base))
			base.Status = now.Status
			next := *base
			next.Status.Phase, next.Status.Machine, next.Status.Shares = phase, machine, &cfv1a1.RolloutShares{Set: share}
			return r.Write(t.Context(), base, &next)
		}
		r.apply([]*cfv1a1.InferenceRollout{object("a")}, false)
		if err := shares("Progressing", `{"number":1}`, 2500); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := shares("Progressing", `{"number":1,"step":2}`, 5000); err == nil {
			t.Error("it goes on without a memory")
		}
		if _, _, err := r.ask(t.Context(), "llm", "a", cfv1a1.RolloutRequest{Verb: "abort"}); err != nil {
			t.Errorf("an operator's abort: %v", err)
		}
		if err := shares("Aborting", `{"number":1,"step":2}`, 0); err != nil {
			t.Errorf("an abort: %v", err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		rings.Store(0)
		time.Sleep(2 * rebind)
		if rings.Load() != 1 {
			t.Errorf("%d builds were asked for to write it again", rings.Load())
		}
		r.apply([]*cfv1a1.InferenceRollout{object("a")}, false)
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "Aborting") {
			t.Errorf("it was not written again: %q, %v", text, err)
		}
	})
}

// However many builds find the state file taken, one more is asked for at a time.
func TestOneBuildIsAskedForAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	mustOpen(t, path)
	synctest.Test(t, func(t *testing.T) {
		r, rings := testRollouts(path)
		for range 50 {
			time.Sleep(10 * time.Millisecond)
			r.apply([]*cfv1a1.InferenceRollout{object("a")}, false)
		}
		time.Sleep(2 * rebind)
		if rings.Load() != 1 {
			t.Errorf("%d builds were asked for", rings.Load())
		}
	})
}

// Without rollouts there is no file.
func TestNoRolloutsNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	r, _ := testRollouts(path)
	r.apply(nil, false)
	r.close()
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) > 0 {
		t.Errorf("there are %v, error %v", entries, err)
	}
}

// While another process has the file, rollouts stand still; when it has let go they
// are followed.
func TestStateFileIsTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	other, _ := mustOpen(t, path)
	synctest.Test(t, func(t *testing.T) {
		r, rings := testRollouts(path)
		_, problems, ok := r.apply([]*cfv1a1.InferenceRollout{object("a")}, false)
		if ok || len(problems) != 1 || !strings.Contains(problems[0].Remedy, "--state") {
			t.Fatal(ok, problems)
		}
		if err := other.close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * rebind)
		if rings.Load() != 1 {
			t.Errorf("%d builds were asked for", rings.Load())
		}
		if _, problems, ok := r.apply([]*cfv1a1.InferenceRollout{object("a")}, false); !ok || len(problems) > 0 {
			t.Error(ok, problems)
		}
		r.close()
	})
}

// A file that cannot be understood is told of until the next start.
func TestStateFileIsBroken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, _ := testRollouts(path)
	defer r.close()
	for range 2 {
		if _, problems, ok := r.apply([]*cfv1a1.InferenceRollout{object("a")}, false); !ok || len(problems) != 1 || !strings.Contains(problems[0].Remedy, path+".bad") {
			t.Fatal(ok, problems)
		}
	}
}

// ask, in a bubble, hands a verb over while step takes it up.
func ask(t *testing.T, r *rollouts, request cfv1a1.RolloutRequest, step func(id string)) (*cfv1a1.InferenceRollout, bool, error) {
	var stepping sync.WaitGroup
	defer stepping.Wait()
	if step != nil {
		stepping.Go(func() {
			time.Sleep(time.Second)
			o, _, _ := r.look(nameOf(object("a")))
			step(o.Status.Request.ID)
		})
	}
	return r.ask(t.Context(), "llm", "a", request)
}

func TestVerbs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, rings := testRollouts("")
		r.apply([]*cfv1a1.InferenceRollout{object("a")}, false)
		if err := r.write("a", "Analyzing", `{"number":3}`); err != nil {
			t.Fatal(err)
		}
		status := r.statuses[nameOf(object("a"))]
		status.Attempt = 3
		r.statuses[nameOf(object("a"))] = status
		takes := func(refused string) func(string) {
			return func(id string) {
				text := `{"number":3,"lastRequest":"` + id + `","taken":["` + id + `"],"refused":"` + refused + `"}`
				if err := r.write("a", "Paused", text); err != nil {
					t.Error(err)
				}
			}
		}
		rings.Store(0)
		o, taken, err := ask(t, r, cfv1a1.RolloutRequest{Verb: "pause"}, takes(""))
		if err != nil || !taken || o.Status.Phase != "Paused" || o.Status.Request.Attempt != 3 || o.Status.Request.ID == "" || o.Kind != "InferenceRollout" {
			t.Errorf("%+v, taken %v, error %v", o, taken, err)
		}
		if rings.Load() == 0 {
			t.Error("nothing is built with the verb")
		}
		if _, _, err := ask(t, r, cfv1a1.RolloutRequest{Verb: "promote", Attempt: 2}, nil); !errors.Is(err, admin.ErrConflict) || !strings.Contains(err.Error(), "attempt 2, but 3") {
			t.Errorf("another attempt: %v", err)
		}
		if _, _, err := ask(t, r, cfv1a1.RolloutRequest{Verb: "retry", Attempt: 3}, takes("only an aborted one")); !errors.Is(err, admin.ErrConflict) || !strings.Contains(err.Error(), "only an aborted one") {
			t.Errorf("a refused verb: %v", err)
		}
		if _, taken, err := ask(t, r, cfv1a1.RolloutRequest{Verb: "abort", ID: "x", Attempt: 3}, nil); err != nil || taken {
			t.Errorf("nobody takes it up: taken %v, error %v", taken, err)
		}
		if _, _, err := ask(t, r, cfv1a1.RolloutRequest{Verb: "resume", Attempt: 3}, nil); !errors.Is(err, admin.ErrConflict) {
			t.Errorf("after an abort: %v", err)
		}
		if _, _, err := r.ask(t.Context(), "llm", "b", cfv1a1.RolloutRequest{Verb: "abort"}); !errors.Is(err, admin.ErrNotFound) {
			t.Errorf("a rollout that is not there: %v", err)
		}
	})
}
