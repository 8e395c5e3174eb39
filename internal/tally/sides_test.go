package tally

import (
	"fmt"
	"testing"

	"crossfade.dev/internal/routing"
)

func TestSplits(t *testing.T) {
	a, b := watched(), watched()
	s := snapshotOf(a)
	v1, v2 := &routing.Pool{ID: "v1"}, &routing.Pool{ID: "v2"}
	rule := routing.Rule{ID: "llm/r/0", Assignment: b, Backends: []routing.Backend{{Pool: v1, Weight: 1}, {Pool: v2}}}
	l := &routing.Listener{Gateway: "llm/g", Name: "http"}
	l.AddRoute("", &routing.Route{Match: routing.Match{PathType: routing.PathPrefix, Path: "/"}, Rule: &rule})
	s.Ports = []*routing.Port{{Number: 80, Listeners: []*routing.Listener{l}}}
	got := Splits(s)
	if len(got) != 2 {
		t.Fatalf("%d splits, want that of the rule and that of the model", len(got))
	}
	if x := got[0]; x.Assignment != b || x.Stable != v1 || x.Candidate != v2 || x.CandidateModel != "" {
		t.Errorf("of the rule: %+v", x)
	}
	if x := got[1]; x.Assignment != a || x.Stable != x.Candidate || x.StableModel != "v1" || x.CandidateModel != "v2" {
		t.Errorf("of the model: %+v", x)
	}
}

func TestLacking(t *testing.T) {
	pool := func(rules map[string]*routing.ModelRule, models ...[]string) *routing.Pool {
		p := &routing.Pool{Inference: true, Rules: rules}
		for i, m := range models {
			p.Endpoints = append(p.Endpoints, routing.Endpoint{Address: fmt.Sprint("e", i), Models: m})
			p.Models = append(p.Models, m...)
		}
		return p
	}
	toQwen := map[string]*routing.ModelRule{"chat": routing.NewModelRule("InferenceModel llm/chat", "chat", []routing.Target{{Model: "qwen3", Weight: 1}, {Model: "old"}}, true, 0)}
	stable := pool(nil, []string{"chat"})
	for name, c := range map[string]struct {
		split Split
		want  string
	}{
		"all serve what clients ask for":   {Split{Stable: stable, Candidate: pool(nil, []string{"chat", "more"}, []string{"chat"})}, "[]"},
		"one serves another":               {Split{Stable: stable, Candidate: pool(nil, []string{"chat"}, []string{"qwen3"})}, "[e1]"},
		"one has not said":                 {Split{Stable: stable, Candidate: pool(nil, []string{"chat"}, nil)}, "[]"},
		"a name with a rule":               {Split{Stable: stable, Candidate: pool(toQwen, []string{"qwen3"}, []string{"old"})}, "[e1]"},
		"nothing is asked for":             {Split{Stable: pool(nil), Candidate: pool(nil, []string{"chat"})}, "[]"},
		"a side that is a model":           {Split{Stable: stable, Candidate: pool(nil, []string{"v1"}, []string{"v1", "v2"}), CandidateModel: "v2"}, "[e0]"},
		"the backend does not resolve":     {Split{Stable: stable}, "[]"},
		"stable's does not":                {Split{Candidate: pool(nil, []string{"x"})}, "[]"},
		"a Service knows nothing of names": {Split{Stable: stable, Candidate: &routing.Pool{Endpoints: []routing.Endpoint{{Address: "e0"}}}}, "[]"},
	} {
		if got := fmt.Sprint(c.split.Lacking()); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
