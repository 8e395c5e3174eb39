package file

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	"golang.org/x/tools/txtar"
)

var rewrite = flag.Bool("update", false, "rewrite the expected results in testdata")

// TestGolden runs the cases in testdata/*.txtar. Files of a case are the folder
// that is read; "want" is what comes of it. Files below 1/, 2/ and so on are the
// folder's states one after the other, each with a want of its own.
func TestGolden(t *testing.T) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatal("no cases", err)
	}
	for _, path := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txtar"), func(t *testing.T) {
			path, err := filepath.Abs(path)
			if err != nil {
				t.Fatal(err)
			}
			archive, err := txtar.ParseFile(path)
			if err != nil {
				t.Fatal(err)
			}
			runCase(t, path, archive)
		})
	}
}

func runCase(t *testing.T, path string, archive *txtar.Archive) {
	dir := t.TempDir()
	t.Chdir(dir)
	r := newReader([]string{"."}, 0)
	changed := false
	for _, step := range steps(archive) {
		fill(t, dir, archive, step)
		update, _ := r.read(walk(r.paths))
		got := show(update)
		want := fileNamed(archive, step+"want")
		if *rewrite && string(want.Data) != got {
			want.Data, changed = []byte(got), true
		}
		if string(want.Data) != got {
			t.Errorf("%swant differs, got:\n%s", step, got)
		}
	}
	if changed {
		if err := os.WriteFile(path, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// steps returns the prefixes of the folder's states, "" for a single one.
func steps(a *txtar.Archive) []string {
	var out []string
	for _, f := range a.Files {
		step, _, ok := strings.Cut(f.Name, "/")
		if !ok || step < "1" || step > "9" {
			return []string{""}
		}
		if !slices.Contains(out, step+"/") {
			out = append(out, step+"/")
		}
	}
	return out
}

// fill makes dir hold the files of one step and no others.
func fill(t *testing.T, dir string, a *txtar.Archive, step string) {
	t.Helper()
	old, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range old {
		if err := os.RemoveAll(f); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range a.Files {
		name, ok := strings.CutPrefix(f.Name, step)
		if !ok || name == "want" {
			continue
		}
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// fileNamed returns the file of that name, adding an empty one when there is none.
func fileNamed(a *txtar.Archive, name string) *txtar.File {
	for i := range a.Files {
		if a.Files[i].Name == name {
			return &a.Files[i]
		}
	}
	a.Files = append(a.Files, txtar.File{Name: name})
	return &a.Files[len(a.Files)-1]
}

// show prints an update: its problems, then the objects in force with their place,
// generation and age in seconds since the epoch.
func show(u source.Update) string {
	var b strings.Builder
	for _, p := range u.Problems {
		fmt.Fprintf(&b, "%s: %s: %s\n", p.Origin, p.Severity, p.Ref)
		fmt.Fprintf(&b, "    %s\n", strings.TrimSpace(p.Field+" "+p.Message))
		fmt.Fprintf(&b, "    fix: %s\n", p.Remedy)
	}
	in := u.Resources
	for _, ref := range slices.SortedFunc(maps.Keys(u.Origins), translate.CompareRefs) {
		line := fmt.Sprintf("%s (%s)", ref, u.Origins[ref])
		if o := objectIn(in, ref); o != nil {
			line += fmt.Sprintf(" generation %d", o.GetGeneration())
			if age := o.GetCreationTimestamp().Sub(epoch); age < time.Hour {
				line += fmt.Sprintf(" age %d", age/time.Second)
			}
		}
		fmt.Fprintln(&b, line)
		for _, f := range in.UnhonouredFields[ref] {
			fmt.Fprintf(&b, "    unhonoured %s\n", f)
		}
	}
	return b.String()
}

// objectIn returns the object called ref, or nil.
func objectIn(in *translate.Resources, ref translate.ObjectRef) object {
	for _, o := range objectsOf(in) {
		if o.GetName() == ref.Name && o.GetNamespace() == ref.Namespace && o.GetObjectKind().GroupVersionKind().Kind == ref.Kind &&
			o.GetObjectKind().GroupVersionKind().Group == ref.Group {
			return o
		}
	}
	return nil
}

// objectsOf returns all objects of in.
func objectsOf(in *translate.Resources) []object {
	var out []object
	out = collect(out, in.GatewayClasses)
	out = collect(out, in.Gateways)
	out = collect(out, in.HTTPRoutes)
	out = collect(out, in.ReferenceGrants)
	out = collect(out, in.Namespaces)
	out = collect(out, in.Services)
	out = collect(out, in.EndpointSlices)
	out = collect(out, in.Secrets)
	out = collect(out, in.ConfigMaps)
	out = collect(out, in.Pods)
	out = collect(out, in.InferencePools)
	out = collect(out, in.LegacyInferencePools)
	out = collect(out, in.InferenceModels)
	out = collect(out, in.InferenceObjectives)
	out = collect(out, in.InferenceModelRewrites)
	out = collect(out, in.InferenceRollouts)
	out = collect(out, in.ClientTrafficPolicies)
	return collect(out, in.BackendTrafficPolicies)
}

func collect[T any, P pointer[T]](out []object, list []P) []object {
	for _, o := range list {
		out = append(out, o)
	}
	return out
}
