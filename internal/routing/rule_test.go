package routing

import (
	"net/http"
	"reflect"
	"testing"
)

// inference returns a pool that endpoints report models of (nil: nothing is
// known) and that objects declare names of.
func inference(id string, models []string, declared ...string) *Pool {
	p := &Pool{ID: id, Name: id, Inference: true, Models: models, ModelsKnown: models != nil, Rules: map[string]*ModelRule{}}
	for _, name := range declared {
		p.Rules[name] = NewModelRule("InferenceModel n/"+name, name, []Target{{name, 1}}, false, 0)
	}
	return p
}

func ruleOf(backends ...Backend) *Rule {
	r := &Rule{ID: "n/r/0", Backends: backends}
	for i := range r.Backends {
		if p := r.Backends[i].Pool; p != nil {
			r.Backends[i].Ref = "InferencePool " + p.Name
		}
	}
	r.Seal()
	return r
}

// TestRuleSplit checks among which backends a model's requests are drawn, by what
// is known of the pools.
func TestRuleSplit(t *testing.T) {
	generic := inference("generic", []string{"other"})
	generic.Generic = NewModelRule("InferenceModelRewrite n/g", "*", []Target{{"other", 1}}, true, 0)
	service := &Pool{ID: "s", Name: "s"}
	broken := Backend{Ref: "InferencePool lost", Weight: 5, Failure: "does not exist"}
	both := []Backend{{Weight: 90, Pool: inference("a", []string{"base", "lora"})}, {Weight: 10, Pool: inference("b", []string{"base"})}}
	for name, c := range map[string]struct {
		backends []Backend
		model    string
		want     []uint32 // nil: nobody serves it
	}{
		"no model in the request":            {both, "", []uint32{90, 10}},
		"both report it":                     {both, "base", []uint32{90, 10}},
		"one reports it":                     {both, "lora", []uint32{90, 0}},
		"nobody reports it":                  {both, "none", nil},
		"declared in both, nothing reported": {[]Backend{{Weight: 9, Pool: inference("a", nil, "m")}, {Weight: 1, Pool: inference("b", nil, "m")}}, "m", []uint32{9, 1}},
		"declared in one, other declares another": {[]Backend{{Weight: 9, Pool: inference("a", nil, "m")},
			{Weight: 1, Pool: inference("b", nil, "n")}}, "m", []uint32{9, 0}},
		"declared in one, nothing known of the other": {[]Backend{{Weight: 9, Pool: inference("a", nil, "m")},
			{Weight: 1, Pool: inference("b", nil)}}, "m", []uint32{9, 1}},
		"declared nowhere, nothing reported": {[]Backend{{Weight: 9, Pool: inference("a", nil, "m")}, {Weight: 1, Pool: inference("b", nil)}}, "x", []uint32{9, 1}},
		"declared nowhere, one reported":     {[]Backend{{Weight: 9, Pool: inference("a", []string{"m"})}, {Weight: 1, Pool: inference("b", nil)}}, "x", []uint32{0, 1}},
		"a rewrite takes every name":         {[]Backend{{Weight: 9, Pool: generic}, {Weight: 1, Pool: inference("b", []string{"m"})}}, "x", []uint32{9, 0}},
		"a Service takes every name":         {[]Backend{{Weight: 9, Pool: service}, {Weight: 1, Pool: inference("b", []string{"m"})}}, "x", []uint32{9, 0}},
		"a missing pool keeps its share":     {append([]Backend{broken}, both...), "lora", []uint32{5, 90, 0}},
		"only missing pools":                 {[]Backend{broken}, "lora", []uint32{5}},
		"known only where the weight is 0":   {[]Backend{{Weight: 0, Pool: both[0].Pool}, both[1]}, "lora", nil},
		"no weights":                         {[]Backend{{Pool: both[0].Pool}}, "lora", []uint32{0}},
	} {
		split := ruleOf(c.backends...).Split(c.model)
		var got []uint32
		if split != nil {
			got = split.Weights()
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: weights %v, want %v", name, got, c.want)
		}
	}
}

// TestEqualSplitsShareAnID checks that models drawn among the same backends share
// a sequence: the hundred requests of a mixed load are split exactly, too.
func TestEqualSplitsShareAnID(t *testing.T) {
	r := ruleOf(Backend{Weight: 9, Pool: inference("a", []string{"x", "y", "z"})}, Backend{Weight: 1, Pool: inference("b", []string{"x", "y"})})
	if r.Split("x").ID != r.Split("y").ID || r.Split("x").ID != r.Split("").ID {
		t.Error("splits over the same backends differ in ID")
	}
	if r.Split("x").ID == r.Split("z").ID {
		t.Error("splits over different backends share an ID")
	}
}

func TestRuleAnswers(t *testing.T) {
	a, b := inference("a", []string{"x"}, "m"), inference("b", []string{"x"})
	r := ruleOf(Backend{Weight: 9, Pool: a}, Backend{Weight: 1, Pool: b})
	if got := r.Models(); !reflect.DeepEqual(got, []string{"m", "x"}) {
		t.Errorf("models %v", got)
	}
	if got := r.Excluded("m"); !reflect.DeepEqual(got, []*Pool{b}) {
		t.Errorf("m is not sent to %v", got)
	}
	if got := r.Excluded("none"); !reflect.DeepEqual(got, []*Pool{a, b}) {
		t.Errorf("an unknown model is not sent to %v", got)
	}
	if got := r.Excluded(""); got != nil {
		t.Errorf("requests without a model are not sent to %v", got)
	}
	if !r.Inference() || ruleOf(Backend{Weight: 1, Pool: &Pool{ID: "s"}}).Inference() {
		t.Error("Inference is wrong")
	}
}

func TestPoolAnswers(t *testing.T) {
	p := inference("p", []string{"base", "m"}, "alias", "m")
	if got := p.Names(); !reflect.DeepEqual(got, []string{"alias", "base", "m"}) {
		t.Errorf("names %v", got)
	}
	if p.Rule("alias").Draw() != "alias" || p.Rule("base") != nil {
		t.Error("rules are wrong")
	}
	p.Generic = NewModelRule("", "*", []Target{{"first", 0}, {"second", 3}}, true, 0)
	if p.Rule("base") != p.Generic || p.Rule("base").Draw() != "second" {
		t.Error("the generic rule is not used")
	}
	if got := NewModelRule("", "x", nil, false, 0).Draw(); got != "" {
		t.Errorf("a rule without targets draws %q", got)
	}
	if !p.Declared() || (&Pool{}).Declared() {
		t.Error("Declared is wrong")
	}
}

// TestPathChange has the table of Gateway API's HTTPPathModifier. Prefixes come
// without their trailing slash.
func TestPathChange(t *testing.T) {
	for _, c := range []struct{ path, prefix, value, want string }{
		{"/foo/bar", "/foo", "/xyz", "/xyz/bar"},
		{"/foo/bar", "/foo", "/xyz/", "/xyz/bar"},
		{"/foo", "/foo", "/xyz", "/xyz"},
		{"/foo/", "/foo", "/xyz", "/xyz/"},
		{"/foo/bar", "/foo", "", "/bar"},
		{"/foo/", "/foo", "", "/"},
		{"/foo", "/foo", "", "/"},
		{"/foo/", "/foo", "/", "/"},
		{"/foo", "/foo", "/", "/"},
		{"/foo", "/", "/xyz", "/xyz/foo"},
	} {
		if got := (PathChange{ReplacePrefixMatch, c.value}).Apply(c.path, c.prefix); got != c.want {
			t.Errorf("%s with %s replaced by %q: %s, want %s", c.path, c.prefix, c.value, got, c.want)
		}
	}
	if got := (PathChange{ReplaceFullPath, "/x"}).Apply("/a/b", "/a"); got != "/x" {
		t.Errorf("full path replaced: %s", got)
	}
	if got := (PathChange{}).Apply("/a/b", "/a"); got != "/a/b" {
		t.Errorf("path kept: %s", got)
	}
}

func TestHeaderChange(t *testing.T) {
	h := http.Header{"A": {"1", "2"}, "B": {"1"}, "C": {"1"}}
	c := &HeaderChange{Set: []HeaderField{{"A", "x"}, {"D", "y"}}, Add: []HeaderField{{"B", "z"}}, Remove: []string{"C", "E"}}
	c.Apply(h)
	if want := (http.Header{"A": {"x"}, "B": {"1", "z"}, "D": {"y"}}); !reflect.DeepEqual(h, want) {
		t.Errorf("got %v, want %v", h, want)
	}
	(*HeaderChange)(nil).Apply(h)
}
