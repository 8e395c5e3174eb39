package kube

import (
	"context"
	"testing"

	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
)

func TestEventsTellWhatIsNew(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, seed)
	told := make(chan string, 100)
	s.stored = func(resource string, o map[string]any) {
		if resource == "events" {
			told <- text(o, "reason") + ": " + text(o, "message")
		}
	}
	f := follow(t, s, Options{Statuses: true})
	f.until("the route", holds("HTTPRoute chat/chat"))
	e := NewEvents(f.source)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()

	problem := func(message string) translate.Problem {
		return translate.Problem{Severity: translate.Error, Ref: routeRef("chat"), Field: "spec.rules[0]", Message: message, Remedy: "do so"}
	}
	for _, step := range []struct {
		problems []translate.Problem
		want     string
	}{
		{[]translate.Problem{problem("one"), {Severity: translate.Error, Ref: routeRef("unknown"), Message: "x"}}, "NotAsAskedFor: spec.rules[0]: one (do so)"},
		{[]translate.Problem{problem("one"), problem("two")}, "NotAsAskedFor: spec.rules[0]: two (do so)"},
		{nil, "Solved: nothing is wrong with it any longer"},
	} {
		e.Set(step.problems)
		if got := <-told; got != step.want {
			t.Errorf("told %q, want %q", got, step.want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// What is told of a rollout before anybody leads is told then.
func TestEventsTellOfRollouts(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, aRollout)
	told := make(chan string, 100)
	s.stored = func(resource string, o map[string]any) {
		if resource == "events" {
			told <- text(o, "type") + " " + text(o, "reason") + ": " + text(o, "message") + " of " + text(o["involvedObject"].(map[string]any), "name")
		}
	}
	f := follow(t, s, Options{Statuses: true})
	f.until("the rollout", func(u source.Update) bool { return len(u.Resources.InferenceRollouts) == 1 })
	o := f.last.Resources.InferenceRollouts[0]
	e := NewEvents(f.source)
	e.Tell(o, "Started", "attempt 1", false)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	if got, want := <-told, "Normal Started: attempt 1 of qwen"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	e.Tell(o, "Aborted", "for harm", false)
	if got, want := <-told, "Warning Aborted: for harm of qwen"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	e.Tell(o, "AbortNotEffective", "it goes on", true)
	if got, want := <-told, "Warning AbortNotEffective: it goes on of qwen"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	for range 3 * maxUntold {
		e.Tell(o, "Started", "x", false)
	}
	if len(e.untold) != maxUntold {
		t.Errorf("%d events wait, at most %d should", len(e.untold), maxUntold)
	}
}
