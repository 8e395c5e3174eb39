package translate

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"crossfade.dev/internal/routing"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite the wanted parts of testdata/*.txtar")

// testController is the controllerName of the cases.
const testController = "crossfade.dev/gateway-controller"

// given are objects that many cases need and few are about. Their statuses are
// not shown; of a case's want.problems those of the Gateway are left out too.
var given = map[string]string{
	"gateway": `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: c}
spec: {controllerName: example.com/c}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  gatewayClassName: c
  listeners: [{name: http, port: 80, protocol: HTTP}]
`,
	"pools": `
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: a}
spec: {selector: {matchLabels: {app: a}}, targetPorts: [{number: 8000}]}
---
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: b}
spec: {selector: {matchLabels: {app: b}}, targetPorts: [{number: 8000}]}
---
apiVersion: v1
kind: Pod
metadata: {name: a-0, labels: {app: a}}
status: {podIP: 10.1.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: b-0, labels: {app: b}}
status: {podIP: 10.2.0.1}
`,
	"route": `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: gw}]
  rules:
  - backendRefs:
    - {group: inference.networking.k8s.io, kind: InferencePool, name: a, weight: 90}
    - {group: inference.networking.k8s.io, kind: InferencePool, name: b, weight: 10}
`,
}

// settings are what a case may set in its file options.yaml.
type settings struct {
	Given         []string            `json:"given"`
	Controllers   []string            `json:"controllers"`
	LocalServices *bool               `json:"localServices"` // default true
	Addresses     []string            `json:"addresses"`
	Cluster       bool                `json:"cluster"`
	Only          string              `json:"only"` // namespace/name
	Models        map[string][]string `json:"models"`
	Unhonoured    []struct {
		Kind, Name string
		Fields     []string
	} `json:"unhonoured"`
}

// load reads the input of a case: every .yaml of the archive.
func load(t testing.TB, a *txtar.Archive) (in *Resources, opts Options, hidden map[ObjectRef]int64) {
	t.Helper()
	in, opts = &Resources{}, Options{Controller: testController, LocalServices: true}
	for _, f := range a.Files {
		switch {
		case f.Name == "options.yaml":
			var s settings
			if err := yaml.UnmarshalStrict(f.Data, &s); err != nil {
				t.Fatalf("options.yaml: %v", err)
			}
			for _, g := range s.Given {
				if given[g] == "" {
					t.Fatalf("options.yaml: nothing is given as %s", g)
				}
				decode(t, in, g, []byte(given[g]))
			}
			hidden = number(in)
			opts.Controllers, opts.Addresses, in.Models = s.Controllers, s.Addresses, s.Models
			opts.Cluster = s.Cluster
			opts.Only.Namespace, opts.Only.Name, _ = strings.Cut(s.Only, "/")
			if s.LocalServices != nil {
				opts.LocalServices = *s.LocalServices
			}
			in.UnhonouredFields = map[ObjectRef][]string{}
			for _, u := range s.Unhonoured {
				in.UnhonouredFields[ObjectRef{Group: "gateway.envoyproxy.io", Kind: u.Kind, Namespace: "default", Name: u.Name}] = u.Fields
			}
		case strings.HasSuffix(f.Name, ".yaml"):
			decode(t, in, f.Name, f.Data)
		}
	}
	return in, opts, hidden
}

// wantedPart renders the part of a result that a file of a case holds.
func wantedPart(r *Result, name string, hidden map[ObjectRef]int64) (string, bool) {
	var b strings.Builder
	switch name {
	case "want.snapshot":
		b.WriteString(r.Snapshot.String())
	case "want.status":
		for _, s := range r.Statuses {
			if hidden[s.Ref] == 0 {
				fmt.Fprintln(&b, s)
			}
		}
	case "want.problems":
		for _, p := range r.Problems {
			if hidden[p.Ref] == 0 || p.Ref.Kind != kindGateway {
				fmt.Fprintln(&b, p)
			}
		}
	case "want.dataplanes":
		for _, d := range r.DataPlanes {
			text, err := yaml.Marshal(d)
			if err != nil {
				panic(err) // plain values
			}
			b.Write(text)
		}
	case "want.rollouts":
		for i := range r.Rollouts {
			printRollout(&b, &r.Rollouts[i])
		}
		for _, a := range assignments(r.Snapshot) {
			printAssignment(&b, a)
		}
	default:
		return "", false
	}
	return b.String(), true
}

// printRollout prints what there is to follow of a rollout.
func printRollout(b *strings.Builder, r *Rollout) {
	fmt.Fprintf(b, "%s\n", r.Ref)
	for _, g := range r.Gateways {
		fmt.Fprintf(b, "  by %s\n", g)
	}
	for _, p := range r.Providers {
		fmt.Fprintf(b, "  %s asks %s%s %s every %s for %s\n", p.Guardrail, p.Address, p.URL, p.Query, p.Interval, p.Timeout)
	}
}

// assignments returns those of rules and models, once each, by the name of the
// rollout.
func assignments(s *routing.Snapshot) []*routing.Assignment {
	found := map[*routing.Assignment]bool{}
	for _, p := range s.Ports {
		for _, l := range p.Listeners {
			l.EachRoute(func(r *routing.Route) { found[r.Rule.Assignment] = true })
		}
	}
	for _, p := range s.Pools {
		for _, r := range p.Rules {
			found[r.Assignment] = true
		}
		if p.Generic != nil {
			found[p.Generic.Assignment] = true
		}
	}
	delete(found, nil)
	return slices.SortedFunc(maps.Keys(found), func(x, y *routing.Assignment) int { return strings.Compare(x.Rollout, y.Rollout) })
}

func printAssignment(b *strings.Builder, a *routing.Assignment) {
	fmt.Fprintf(b, "%s attempt %d revision %d watched %t cancel %t override %q\n", a, a.Attempt, a.Revision, a.Watched, a.Cancel, a.Override)
	if w := a.Warmup; w != nil {
		fmt.Fprintf(b, "  warm-up %d\n", w.Requests)
		for _, p := range w.Probes {
			fmt.Fprintf(b, "    %s %s\n", p.Path, p.Body)
		}
	}
	if s := a.Shadow; s != nil {
		fmt.Fprintf(b, "  shadow %d%% of at most %d tokens\n", s.Percent, s.MaxTokens)
	}
}

func cases(t testing.TB) []string {
	t.Helper()
	names, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	return names
}

// TestBuild compares the results of testdata/*.txtar with the parts they show.
func TestBuild(t *testing.T) {
	for _, file := range cases(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if len(strings.TrimSpace(string(a.Comment))) == 0 {
				t.Error("the case does not say why it is there")
			}
			in, opts, hidden := load(t, a)
			result := Build(in, opts)
			if *update {
				rewriteCase(t, file, a, result, hidden)
				return
			}
			shown := 0
			for _, f := range a.Files {
				got, ok := wantedPart(result, f.Name, hidden)
				if !ok {
					continue
				}
				shown++
				if d := cmp.Diff(strings.TrimSpace(string(f.Data)), strings.TrimSpace(got)); d != "" {
					t.Errorf("%s (-want +got):\n%s", f.Name, d)
				}
			}
			if shown == 0 {
				t.Error("the case wants nothing")
			}
		})
	}
}

// rewriteCase puts the actual results into the parts the case shows; a new case gets
// all of them.
func rewriteCase(t *testing.T, file string, a *txtar.Archive, r *Result, hidden map[ObjectRef]int64) {
	t.Helper()
	shown := slices.ContainsFunc(a.Files, func(f txtar.File) bool { return strings.HasPrefix(f.Name, "want.") })
	if !shown {
		for _, name := range []string{"want.snapshot", "want.status", "want.problems"} {
			a.Files = append(a.Files, txtar.File{Name: name})
		}
	}
	for i := range a.Files {
		if got, ok := wantedPart(r, a.Files[i].Name, hidden); ok {
			a.Files[i].Data = []byte(got)
		}
	}
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestBuildIsPure builds every case again from its lists in other orders: the
// results must be equal and the input unchanged.
func TestBuildIsPure(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, file := range cases(t) {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		in, opts, _ := load(t, a)
		before := asJSON(t, in)
		want := Build(in, opts)
		if d := cmp.Diff(before, asJSON(t, in)); d != "" {
			t.Fatalf("%s: Build changed its input (-before +after):\n%s", file, d)
		}
		for range 5 {
			shuffle(in, r)
			got := Build(in, opts)
			for _, part := range []string{"want.snapshot", "want.status", "want.problems", "want.rollouts"} {
				w, _ := wantedPart(want, part, nil)
				g, _ := wantedPart(got, part, nil)
				if d := cmp.Diff(w, g); d != "" {
					t.Fatalf("%s: %s depends on the order of the input:\n%s", file, part, d)
				}
			}
		}
	}
}

// TestObservedGeneration checks that every condition carries the generation of
// the object it is about: stale ones mislead those who wait for them.
func TestObservedGeneration(t *testing.T) {
	for _, file := range cases(t) {
		a, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		in, opts, _ := load(t, a)
		generations := number(in)
		for _, s := range Build(in, opts).Statuses {
			if s.Generation != generations[s.Ref] || s.Generation == 0 {
				t.Errorf("%s: %s: generation %d, want %d", file, s.Ref, s.Generation, generations[s.Ref])
			}
			for _, c := range s.all() {
				if c.ObservedGeneration != s.Generation {
					t.Errorf("%s: %s: condition %s observed generation %d, want %d", file, s.Ref, c.Type, c.ObservedGeneration, s.Generation)
				}
				if len(c.Message) > 32768 || c.Reason == "" || c.Status == "" {
					t.Errorf("%s: %s: condition %+v is not valid", file, s.Ref, c)
				}
			}
		}
	}
}
