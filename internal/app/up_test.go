package app

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"k8s.io/apimachinery/pkg/types"
)

// rolloutToTen is a rollout that waits at 10 %.
const rolloutToTen = `
apiVersion: crossfade.dev/v1alpha1
kind: InferenceRollout
metadata: {name: qwen}
spec:
  target: {httpRoute: {name: chat}}
  stable: {name: qwen-v1}
  candidate: {name: qwen-v2}
  steps:
  - setShare: {percent: 10}
  - pause: {}
  - setShare: {percent: 100}
  analysis: {tick: 1s}
  capacity: {mode: "Off"}
`

// One process ends in the middle of a rollout, the next one goes on, and serves the
// share from its first configuration on.
func TestUpGoesOnWithARollout(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"1-models.yaml", "2-gateway.yaml"} {
		text, err := os.ReadFile(filepath.Join("../../examples/rollout-healthy", name))
		if err != nil {
			t.Fatal(err)
		}
		put(t, filepath.Join(dir, name), strings.ReplaceAll(string(text), "port: 8080", "port: 18099"))
	}
	put(t, filepath.Join(dir, "3-rollout.yaml"), rolloutToTen)
	cfg := Defaults()
	cfg.Paths, cfg.Admin, cfg.Drain = []string{dir}, "127.0.0.1:0", time.Second
	cfg.StateFile = filepath.Join(t.TempDir(), "state.json")
	at := types.NamespacedName{Namespace: "default", Name: "qwen"}

	first := runUp(t, cfg, func(u *Up, stop func()) {
		if b := u.Banner(); !strings.Contains(b, cfg.StateFile) || !strings.Contains(b, "begins now") {
			t.Errorf("the banner:\n%s", b)
		}
		go func() {
			defer stop()
			u.rollouts.await(t, at, func(s *cfv1a1.InferenceRolloutStatus) bool { return s.Phase == "Paused" })
		}()
	})
	before := first.rollouts.list()[0].Status

	runUp(t, cfg, func(u *Up, stop func()) {
		defer stop()
		if b := u.Banner(); !strings.Contains(b, "goes on: Paused, attempt 1, step 2/3") {
			t.Errorf("the banner:\n%s", b)
		}
		if !strings.Contains(u.view.Load().Snapshot, "rollout default/qwen 10%") {
			t.Errorf("the first snapshot:\n%s", u.view.Load().Snapshot)
		}
		after := u.rollouts.list()[0].Status
		if after.Shares.Revision != before.Shares.Revision || after.Shares.Set != 1000 {
			t.Errorf("before %+v, after %+v", before.Shares, after.Shares)
		}
	})
}

// runUp runs a whole gateway; ready is called with its first configuration.
func runUp(t *testing.T, cfg Config, ready func(u *Up, stop func())) *Up {
	t.Helper()
	u, err := NewUp(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	u.OnReady = func() { ready(u, stop) }
	if err := u.Run(ctx); err != nil {
		t.Fatal(err)
	}
	return u
}

// await returns when a status is as it should be, or fails after a minute.
func (r *rollouts) await(t *testing.T, at types.NamespacedName, is func(*cfv1a1.InferenceRolloutStatus) bool) {
	late := time.After(time.Minute)
	for {
		o, _, next := r.look(at)
		if o != nil && is(&o.Status) {
			return
		}
		select {
		case <-next:
		case <-late:
			t.Errorf("it does not come about: %+v", o)
			return
		}
	}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
