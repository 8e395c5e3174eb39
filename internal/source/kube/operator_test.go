package kube

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	cfv1a1 "crossfade.dev/api/v1alpha1"
)

const oneRollout = `
apiVersion: crossfade.dev/v1alpha1
kind: InferenceRollout
metadata: {name: qwen3, namespace: chat}
spec:
  target: {httpRoute: {name: llm}}
  stable: {name: v1}
  candidate: {name: v2}
status:
  phase: Analyzing
  request: {id: old, verb: set-share, attempt: 1, percent: 7, reason: why not, by: ann}`

func newOperator(t *testing.T) (*apiServer, *Operator) {
	t.Helper()
	s := newAPIServer(t)
	s.apply(t, oneRollout)
	p, err := NewOperator(s.config())
	if err != nil {
		t.Fatal(err)
	}
	return s, p
}

func (s *apiServer) request(t *testing.T) cfv1a1.RolloutRequest {
	t.Helper()
	o := s.get("inferencerollouts.crossfade.dev", "chat", "qwen3")
	text, err := json.Marshal(o["status"].(map[string]any)["request"])
	if err != nil {
		t.Fatal(err)
	}
	var r cfv1a1.RolloutRequest
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// TestOperatorAsks checks that a verb replaces the one before as a whole, in the
// version its author saw.
func TestOperatorAsks(t *testing.T) {
	s, p := newOperator(t)
	all, err := p.Rollouts(t.Context(), "")
	if err != nil || len(all) != 1 || all[0].Name != "qwen3" || all[0].Status.Phase != "Analyzing" {
		t.Fatalf("%v, %v", all, err)
	}
	want := cfv1a1.RolloutRequest{ID: "a", Verb: "abort", Attempt: 1}
	if err := p.Ask(t.Context(), "chat", "qwen3", all[0].ResourceVersion, want); err != nil {
		t.Fatal(err)
	}
	if got := s.request(t); got != want {
		t.Errorf("%+v", got)
	}
	if err := p.Ask(t.Context(), "chat", "qwen3", all[0].ResourceVersion, cfv1a1.RolloutRequest{ID: "b", Verb: "promote"}); !errors.Is(err, ErrStale) {
		t.Errorf("a stale verb: %v", err)
	}
	if err := p.Ask(t.Context(), "chat", "qwen3", "", cfv1a1.RolloutRequest{ID: "c", Verb: "abort"}); err != nil || s.request(t).ID != "c" {
		t.Errorf("without a version: %v", err)
	}
	if err := p.Ask(t.Context(), "chat", "qwen3", "", cfv1a1.RolloutRequest{Verb: "abort"}); err == nil {
		t.Error("a verb without an ID is written")
	}
	if _, err := p.Rollout(t.Context(), "chat", "other"); err == nil || strings.Contains(err.Error(), "CRD") {
		t.Errorf("one that is not there: %v", err)
	}
}

// TestOperatorAnnotates checks the way of those who may not write the status.
func TestOperatorAnnotates(t *testing.T) {
	s, p := newOperator(t)
	s.writeFault = func(what string) int {
		if strings.HasSuffix(what, "/status") {
			return http.StatusForbidden
		}
		return 0
	}
	want := cfv1a1.RolloutRequest{ID: "a", Verb: "pause", Attempt: 1, By: "ann"}
	if err := p.Ask(t.Context(), "chat", "qwen3", "", want); err != nil {
		t.Fatal(err)
	}
	o, err := p.Rollout(t.Context(), "chat", "qwen3")
	if err != nil {
		t.Fatal(err)
	}
	var got cfv1a1.RolloutRequest
	if err := json.Unmarshal([]byte(o.Annotations[cfv1a1.RequestAnnotation]), &got); err != nil || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if s.request(t).ID != "old" {
		t.Error("the status was written")
	}
	s.writeFault = func(string) int { return http.StatusForbidden }
	if err := p.Ask(t.Context(), "chat", "qwen3", "", want); err == nil || !strings.Contains(err.Error(), "annotate") {
		t.Errorf("without any right: %v", err)
	}
}

func TestOperatorMissesTheCRD(t *testing.T) {
	s, p := newOperator(t)
	for _, k := range kinds {
		if k.name == "InferenceRollout" {
			s.remove(k)
		}
	}
	if _, err := p.Rollouts(t.Context(), ""); err == nil || !strings.Contains(err.Error(), "CRD") {
		t.Errorf("%v", err)
	}
}

func TestWhereabouts(t *testing.T) {
	if name, namespace := Whereabouts("testdata/none.yaml", "there"); name != "there" || namespace != "default" {
		t.Errorf("%s %s", name, namespace)
	}
}
