package app

import (
	"io"
	"net/http/httptest"
	"testing"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
)

// TestObserverFillsTheBooks follows a request that is part of two rollouts, and one
// that keeps failing, from the proxy to the counts.
func TestObserverFillsTheBooks(t *testing.T) {
	p := newPlane(Defaults(), func() {})
	assignment := func(name string) *routing.Assignment {
		a := &routing.Assignment{Rollout: "llm/" + name, Attempt: 1, Revision: 2, Candidate: 1, Share: 5000, Watched: true}
		a.Seal()
		return a
	}
	rule := routing.NewModelRule("InferenceModel llm/m", "m", []routing.Target{{Model: "a", Weight: 1}, {Model: "b"}}, false, 0)
	rule.Assignment = assignment("models")
	other := routing.NewModelRule("InferenceModel llm/n", "n", []routing.Target{{Model: "a", Weight: 1}, {Model: "b"}}, false, 0)
	other.Assignment = assignment("others")
	pool := &routing.Pool{ID: "p", Name: "llm/p", Inference: true, Rules: map[string]*routing.ModelRule{"m": rule, "n": other}}
	p.serve(t.Context(), &routing.Snapshot{Pools: map[string]*routing.Pool{"p": pool}})

	o := observer{p.metrics, admin.NewAccessLog(io.Discard, 0), p.books}
	visit := func() *proxy.Visit {
		v := &proxy.Visit{Request: httptest.NewRequest("POST", "/v1/chat/completions", nil)}
		v.Parts[proxy.OfRule] = proxy.Part{Assignment: other.Assignment, Place: routing.Place{Candidate: true}}
		v.Parts[proxy.OfModel] = proxy.Part{Assignment: rule.Assignment, Place: routing.Place{}}
		v.Outcome = llm.Outcome{Status: 200, Reason: llm.ReasonOK, Start: time.Now(), End: time.Now()}
		return v
	}
	v := visit()
	o.Begin(v)
	for _, r := range p.counts().Rollouts {
		if r.Candidate.InFlight+r.Stable.InFlight != 1 || r.Candidate.Arrivals+r.Stable.Arrivals != 1 || r.Revision != 2 {
			t.Errorf("%s while it runs: %+v", r.Rollout, r)
		}
	}
	o.FirstByte(v)
	o.End(v)
	for range 10 {
		v := visit()
		o.Begin(v)
		v.Parts[proxy.OfRule].Failed = llm.ReasonUpstreamReset
		o.Failed(v, proxy.OfRule, llm.ReasonUpstreamReset)
		v.Outcome.Reason = llm.ReasonUpstreamReset
		o.End(v)
	}
	for _, r := range p.counts().Rollouts {
		if r.Candidate.InFlight+r.Stable.InFlight != 0 {
			t.Errorf("%s after all: %+v", r.Rollout, r)
		}
		if out := r.Rollout == "llm/others"; (r.Breaker != "") != out {
			t.Errorf("%s: breaker %q", r.Rollout, r.Breaker)
		}
	}
	if !other.Assignment.Barred() || rule.Assignment.Barred() {
		t.Error("the wrong candidate is barred")
	}
	if err := p.barCandidate("llm", "models"); err != nil || !rule.Assignment.Barred() {
		t.Errorf("by hand: %v", err)
	}
	if err := p.barCandidate("llm", "nobody"); err == nil {
		t.Error("a rollout that does not exist is barred")
	}
}

func TestEndpointsOf(t *testing.T) {
	now := time.Unix(100, 0)
	got := endpointsOf([]scheduling.EndpointStats{
		{Address: "a", MetricsAt: now, Running: 2, Waiting: 1, KVUsage: 0.5}, {Address: "b", EjectedUntil: now.Add(time.Second)},
		{Address: "c", EjectedUntil: now}, {Address: "d", Leaving: true},
	}, now)
	if a := got[0]; !a.Ready || !a.Known || a.Running != 2 || a.Waiting != 1 || a.KV != 0.5 {
		t.Errorf("a: %+v", a)
	}
	if got[1].Ready || got[1].Known || !got[2].Ready || got[3].Ready {
		t.Errorf("ready: %+v", got)
	}
}
