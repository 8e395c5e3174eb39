package app

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"crossfade.dev/internal/sim"
	"crossfade.dev/internal/source/file"
	"crossfade.dev/internal/translate"
)

const annotatedDeployment = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: candidate}
spec:
  selector: {matchLabels: {app: candidate}}
  template:
    metadata:
      labels: {app: candidate}
      annotations: {%s}
    spec:
      containers: [{name: engine, image: vllm/vllm-openai, args: ["--model", "/models/m"]}]
`

// A candidate can be broken from the start, and be mended, by its annotation; the
// server goes on all the while.
func TestFaultsByAnnotation(t *testing.T) {
	f := newFleet(sim.Options{}, slog.New(slog.DiscardHandler))
	defer f.close()
	path := filepath.Join(t.TempDir(), "candidate.yaml")
	var running *simulated
	apply := func(annotations string) []translate.Problem {
		t.Helper()
		if err := os.WriteFile(path, fmt.Appendf(nil, annotatedDeployment, annotations), 0o600); err != nil {
			t.Fatal(err)
		}
		update, err := file.Load([]string{path})
		if err != nil {
			t.Fatal(err)
		}
		_, problems := f.apply(t.Context(), update.Resources)
		if len(f.servers) != 1 {
			t.Fatalf("%d servers run; problems %v, %v", len(f.servers), update.Problems, problems)
		}
		for _, s := range f.servers {
			if running != nil && s != running {
				t.Fatalf("with the annotations %s another server runs", annotations)
			}
			running = s
		}
		return problems
	}
	if problems := apply(`crossfade.dev/sim-faults: '{"failRate":0.2,"prefillMultiplier":2}'`); len(problems) > 0 {
		t.Fatal(problems)
	}
	expectFaults(t, running, 0.2, 2)
	for _, bad := range []string{`'{"failRate":"often"}'`, `'{"failRat":1}'`, `'{"failRate":2}'`, `'{"failRate":1} x'`, `''`} {
		problems := apply("crossfade.dev/sim-faults: " + bad)
		if len(problems) != 1 {
			t.Fatalf("%s: problems %v", bad, problems)
		}
		p := problems[0]
		if p.Severity != translate.Warning || p.Ref.Kind != "Pod" || !strings.HasPrefix(p.Ref.Name, "candidate-") ||
			!strings.Contains(p.Field, "crossfade.dev/sim-faults") || p.Remedy == "" {
			t.Errorf("%s: %+v", bad, p)
		}
		expectFaults(t, running, 0.2, 2)
	}

	// What is set at the server itself stays until the annotation changes.
	if err := running.server.SetFaults(sim.Faults{FailRate: 1}); err != nil {
		t.Fatal(err)
	}
	apply(`crossfade.dev/sim-faults: '{"failRate":0.2,"prefillMultiplier":2}'`)
	expectFaults(t, running, 1, 1)
	if problems := apply(``); len(problems) > 0 {
		t.Fatal(problems)
	}
	expectFaults(t, running, 0, 1)
}

// expectFaults checks the faults in force.
func expectFaults(t *testing.T, s *simulated, failRate, prefill float64) {
	t.Helper()
	if got := s.server.Faults(); got.FailRate != failRate || got.PrefillMultiplier != prefill {
		t.Fatalf("the faults are %+v, want failRate %v and prefillMultiplier %v", got, failRate, prefill)
	}
}

// The check of files starts no server and tells the same.
func TestCheckReadsFaults(t *testing.T) {
	path := filepath.Join(t.TempDir(), "candidate.yaml")
	if err := os.WriteFile(path, fmt.Appendf(nil, annotatedDeployment, `crossfade.dev/sim-faults: '{"failRat":1}'`), 0o600); err != nil {
		t.Fatal(err)
	}
	view, err := Check([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	if len(view.Problems) != 1 || !strings.Contains(view.Problems[0].Message, `unknown field "failRat"`) {
		t.Errorf("problems %+v", view.Problems)
	}
}
