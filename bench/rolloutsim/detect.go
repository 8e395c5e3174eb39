package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/stats"
)

// detection is one regression at one level of traffic, for the test alone.
type detection struct {
	name         string
	rps, share   float64
	healthy, bad float64 // rates of events of stable and candidate
}

// exceeds is the part of a lognormal TTFT (sd 0.7), factor times as long, that is
// above the p90 of the original.
func exceeds(factor float64) float64 {
	z := 1.2815515594 - math.Log(factor)/0.7
	return 0.5 * math.Erfc(z/math.Sqrt2)
}

func detections() []detection {
	var out []detection
	for _, load := range []struct{ rps, share float64 }{{2, 0.05}, {20, 0.05}, {20, 0.25}, {100, 0.05}} {
		for _, bad := range []float64{1, 0.2, 0.05, 0.02} {
			out = append(out, detection{fmt.Sprintf("errors 0.5%% to %g%%", 100*bad), load.rps, load.share, 0.005, bad})
		}
		for _, factor := range []float64{2, 1.5} {
			out = append(out, detection{fmt.Sprintf("TTFT x%g, above p90", factor), load.rps, load.share, 0.1, exceeds(factor)})
		}
	}
	return out
}

// printDetections measures how long the test takes at alpha 1 %, margin 1.25.
func printDetections(out io.Writer, runs int, seed uint64) {
	fmt.Fprintf(out, "\nThe test alone, alpha 1 %%, margin 1.25, windows of 10 s; time until harm is found, %d runs of each\n", runs)
	fmt.Fprintf(out, "%-24s %6s %6s %10s %10s %8s\n", "regression", "rps", "share", "median", "p90", "missed")
	for _, d := range detections() {
		times, missed := d.run(runs, seed)
		fmt.Fprintf(out, "%-24s %6g %5g%% %10s %10s %8d\n", d.name, d.rps, 100*d.share, quantile(times, runs, 0.5), quantile(times, runs, 0.9), missed)
	}
}

// quantile of times, among runs of which those without a time took longer than any.
func quantile(times []time.Duration, runs int, q float64) string {
	i := int(math.Ceil(q*float64(runs))) - 1
	if i >= len(times) {
		return "-"
	}
	return times[i].String()
}

// run returns the times of those runs that found harm within six hours, ascending.
func (d detection) run(runs int, seed uint64) (times []time.Duration, missed int) {
	q := stats.Question{HarmMargin: 1.25, PassMargin: 2}
	scale := stats.NewScale(q.Margins()...)
	for i := range runs {
		r := rand.New(rand.NewPCG(seed+uint64(i), 0xDE7EC7))
		var e stats.Evidence
		found := time.Duration(0)
		for at := tick; at <= 6*time.Hour; at += tick {
			mean := d.rps * tick.Seconds()
			n := stats.Table{Candidate: tally(r, mean*d.share, d.bad), Stable: tally(r, mean*(1-d.share), d.healthy)}
			e.Add(scale, q, "", n, 1)
			if e.Measure(scale, q).Judge(stats.Budget{Alpha: 0.01, Beta: 0.05}) == stats.Fail {
				found = at
				break
			}
		}
		if found == 0 {
			missed++
		} else {
			times = append(times, found)
		}
	}
	slices.Sort(times)
	return times, missed
}

// tally draws a Poisson number of units of which each has the event with chance p.
func tally(r *rand.Rand, mean, p float64) stats.Tally {
	events, others := poisson(r, mean*p), poisson(r, mean*(1-p))
	return stats.Tally{Units: events + others, Events: events}
}

func poisson(r *rand.Rand, mean float64) (n int64) {
	for at := r.ExpFloat64(); at < mean; at += r.ExpFloat64() {
		n++
	}
	return n
}

// printRollouts measures how long whole rollouts take to abort, guardrails by default.
func printRollouts(out io.Writer, runs int, seed uint64) {
	fmt.Fprintf(out, "\nWhole rollouts at 5 %%, default guardrails, requests of sessions of 10; time from the first traffic to the abort, %d runs of each\n", runs)
	fmt.Fprintf(out, "%-24s %6s %10s %10s %8s\n", "regression", "rps", "median", "p90", "missed")
	for _, rps := range []float64{2, 20} {
		for _, c := range []struct {
			name   string
			change func(*traffic)
		}{
			{"errors to 100%", func(t *traffic) { t.errors[0] = 1 }},
			{"errors to 20%", func(t *traffic) { t.errors[0] = 0.2 }},
			{"errors to 2%", func(t *traffic) { t.errors[0] = 0.02 }},
			{"TTFT x2", func(t *traffic) { t.slower = 2 }},
			{"TTFT x1.5", func(t *traffic) { t.slower = 1.5 }},
			{"TTFT x1.1", func(t *traffic) { t.slower = 1.1 }},
		} {
			t := usual()
			t.rps, t.perUser, t.voice = rps, 10, 0.3
			c.change(&t)
			times, missed := aborts(t, runs, seed)
			fmt.Fprintf(out, "%-24s %6g %10s %10s %8d\n", c.name, rps, quantile(times, runs, 0.5), quantile(times, runs, 0.9), missed)
		}
	}
}

func aborts(t traffic, runs int, seed uint64) (times []time.Duration, missed int) {
	p := plan(2 * time.Hour)
	for i := range runs {
		s, exposed := follow(p, newWorld(t, seed+uint64(i)), 2*time.Hour)
		if s.Phase == rollout.Aborting {
			times = append(times, exposed)
		} else {
			missed++
		}
	}
	slices.Sort(times)
	return times, missed
}
