package translate

import (
	"fmt"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"crossfade.dev/internal/routing"
	"golang.org/x/tools/txtar"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestBuildOfNothing(t *testing.T) {
	for name, in := range map[string]*Resources{"no lists": {}, "nil objects": withNils()} {
		r := Build(in, Options{})
		if r.Snapshot == nil || r.Snapshot.String() != "" || len(r.Statuses)+len(r.Problems) != 0 {
			t.Errorf("%s: got %+v", name, r)
		}
	}
}

// withNils has a nil in every list.
func withNils() *Resources {
	in := &Resources{}
	v := reflect.ValueOf(in).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice {
			f.Set(reflect.Append(f, reflect.Zero(f.Type().Elem())))
		}
	}
	return in
}

// TestController checks which controllerName statuses carry: ours where it is
// set, else that of the Gateway's class.
func TestController(t *testing.T) {
	a, err := txtar.ParseFile(filepath.Join("testdata", "guide.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	in, opts, _ := load(t, a)
	for controller, want := range map[string]string{testController: testController, "": "gateway.envoyproxy.io/gatewayclass-controller"} {
		opts.Controller = controller
		for _, s := range Build(in, opts).Statuses {
			for _, p := range s.Parents {
				if p.Controller != want {
					t.Errorf("controller %q: %s at %s is of %q, want %q", controller, s.Ref, p.Parent, p.Controller, want)
				}
			}
		}
	}
}

// TestListenersShareSequences checks that listeners draw from one sequence even
// where policies give them different timeouts: a client's 100 requests are split
// exactly however they arrive.
func TestListenersShareSequences(t *testing.T) {
	a, err := txtar.ParseFile(filepath.Join("testdata", "policy-backend.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	in, opts, _ := load(t, a)
	rules := map[*routing.Rule]*routing.Split{}
	splits := map[*routing.Split]bool{}
	for _, p := range Build(in, opts).Snapshot.Ports {
		p.Listeners[0].EachRoute(func(r *routing.Route) {
			if r.Object == "default/plain" {
				rules[r.Rule] = r.Rule.Split("")
				splits[r.Rule.Split("")] = true
			}
		})
	}
	if len(rules) != 2 || len(splits) != 1 {
		t.Errorf("%d rules with %d splits, want 2 with 1", len(rules), len(splits))
	}
}

func TestCompareFields(t *testing.T) {
	sorted := []string{"", "spec", "spec.rules[2]", "spec.rules[2].backendRefs[9]", "spec.rules[2].backendRefs[10]", "spec.rules[10]", "spec.x"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got, want := compareFields(a, b), i-j; (got < 0) != (want < 0) || (got > 0) != (want > 0) {
				t.Errorf("compareFields(%q, %q) = %d", a, b, got)
			}
		}
	}
}

func TestCompareNames(t *testing.T) {
	type name struct{ namespace, name string }
	names := []name{{"a", "x"}, {"a", "y"}, {"a-b", "a"}, {"a0", "a"}, {"ab", "x"}, {"b", "a"}}
	for _, a := range names {
		for _, b := range names {
			got := compareNames(nameOf(&metav1.ObjectMeta{Namespace: a.namespace, Name: a.name}), nameOf(&metav1.ObjectMeta{Namespace: b.namespace, Name: b.name}))
			if want := strings.Compare(a.namespace+"/"+a.name, b.namespace+"/"+b.name); (got < 0) != (want < 0) || (got > 0) != (want > 0) {
				t.Errorf("%v and %v: %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestLongMessagesAreCut(t *testing.T) {
	got := sentence([]string{strings.Repeat("é", maxMessage)})
	if len(got) > maxMessage+len("…") || !strings.HasSuffix(got, "é…") {
		t.Errorf("%d bytes ending in %q", len(got), got[len(got)-5:])
	}
}

func ExampleBuild() {
	in := &Resources{} // a source fills it
	result := Build(in, Options{Controller: "crossfade.dev/gateway-controller", LocalServices: true})
	fmt.Println(len(result.Snapshot.Ports), "ports,", len(result.Problems), "problems")
	// Output: 0 ports, 0 problems
}
