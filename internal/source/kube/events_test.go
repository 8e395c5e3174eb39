package kube

import (
	"context"
	"strings"
	"testing"

	"crossfade.dev/internal/translate"
)

func TestEventsTellWhatIsNew(t *testing.T) {
	s := newAPIServer(t)
	s.apply(t, seed)
	told := make(chan string, 100)
	s.wrote = func(what string) {
		for gvr, list := range s.objects {
			for _, o := range list {
				if gvr.Resource == "events" {
					told <- text(o, "reason") + ": " + text(o, "message")
				}
			}
			if gvr.Resource == "events" {
				clear(list)
			}
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
	e.Set([]translate.Problem{problem("one"), {Severity: translate.Error, Ref: routeRef("unknown"), Message: "x"}})
	e.Set([]translate.Problem{problem("one"), problem("two")})
	e.Set(nil)
	// The fake tells of an event when the next one comes.
	e.Set([]translate.Problem{problem("three")})
	e.Set(nil)
	var got []string
	for range 4 {
		got = append(got, <-told)
	}
	want := "NotAsAskedFor: spec.rules[0]: one (do so)\nNotAsAskedFor: spec.rules[0]: two (do so)\nSolved: nothing is wrong with it any longer\nNotAsAskedFor: spec.rules[0]: three (do so)"
	if text := strings.Join(got, "\n"); text != want {
		t.Errorf("told\n%s\nwant\n%s", text, want)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
