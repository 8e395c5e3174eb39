package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"crossfade.dev/internal/rollout"
)

// null is a kind of A/A rollout: nothing is wrong with the candidate.
type null struct {
	name    string
	traffic traffic
}

func nulls() []null {
	with := func(change func(*traffic)) traffic {
		t := usual()
		change(&t)
		return t
	}
	return []null{
		{"independent requests", usual()},
		{"errors drift from a third to three times their rate", with(func(t *traffic) { t.drift = true })},
		{"sessions of 10, errors correlated (ICC 0.2), own speed", with(func(t *traffic) { t.perUser, t.icc, t.voice = 10, 0.2, 0.3 })},
		{"pods with noise (sd 0.4 by window), sessions of 10", with(func(t *traffic) { t.perUser, t.voice, t.pods = 10, 0.3, 0.4 })},
		{"cold candidate: TTFT three times as long, fading in 30 s", with(func(t *traffic) { t.cold, t.perUser, t.voice = 2, 10, 0.3 })},
		{"little traffic: 1 request a second", with(func(t *traffic) { t.rps = 1 })},
	}
}

// plan is the rollout of the simulations: steps of 5, 25, 50 % for as long as the
// test of error rates should last. Without names the guardrails are those by default.
func plan(hold time.Duration, guardrails ...string) *rollout.Plan {
	p := &rollout.Plan{Name: "bench/rollout", Stable: "v1", Candidate: "v2"}
	for _, share := range []rollout.Share{500, 2500, 5000} {
		p.Steps = append(p.Steps, rollout.PlanStep{Kind: rollout.SetShare, Share: share}, rollout.PlanStep{Kind: rollout.Hold, Min: hold})
	}
	p.Steps = append(p.Steps, rollout.PlanStep{Kind: rollout.SetShare, Share: rollout.Whole})
	p.Analysis.Tick = tick
	for _, name := range guardrails {
		p.Analysis.Guardrails = append(p.Analysis.Guardrails, rollout.Guardrail{Name: name})
	}
	p.Complete()
	return p
}

// follow runs a rollout to its end, or for the given time, and returns its state and
// how long the candidate had traffic.
func follow(p *rollout.Plan, w *world, limit time.Duration) (*rollout.State, time.Duration) {
	state := &rollout.State{}
	start := time.Date(2026, 8, 1, 0, 0, 0, 0, time.UTC)
	exposed := time.Duration(0)
	for elapsed := time.Duration(0); elapsed < limit; elapsed += tick {
		share := state.Share.Set
		o := w.window(share, state.Share.Revision, start)
		if share > 0 {
			exposed += tick
		}
		state, _ = rollout.Step(p, state, rollout.Event{At: o.To, Observation: o})
		if state.Phase == rollout.Aborting || state.Phase == rollout.Promoted || state.Phase == rollout.Paused {
			break
		}
	}
	return state, exposed
}

// printNulls counts what becomes of rollouts that should all be promoted.
func printNulls(out io.Writer, o options) {
	fmt.Fprintf(out, "A/A rollouts, 5, 25 and 50 %% for 20 minutes each, at most 3 hours; %d runs of each kind\n", o.runs)
	fmt.Fprintf(out, "%-60s %8s %8s %8s %10s\n", "kind", "aborted", "rate", "paused", "promoted")
	for _, n := range nulls() {
		if !strings.Contains(n.name, o.only) {
			continue
		}
		c := countNull(n, o)
		fmt.Fprintf(out, "%-60s %8d %7.2f%% %8d %10d\n", n.name, c.aborted, 100*float64(c.aborted)/float64(o.runs), c.paused, c.promoted)
	}
}

// ends counts how rollouts ended. Who waits for a person is not promoted; a soft
// guardrail does that.
type ends struct{ aborted, paused, promoted int }

func countNull(n null, o options) (c ends) {
	p := plan(20*time.Minute, o.guardrails...)
	for i := range o.runs {
		s, _ := follow(p, newWorld(n.traffic, o.seed+uint64(i)), 3*time.Hour)
		switch s.Phase {
		case rollout.Aborting, rollout.Aborted:
			c.aborted++
		case rollout.Paused:
			c.paused++
		case rollout.Promoted:
			c.promoted++
		}
	}
	return c
}
