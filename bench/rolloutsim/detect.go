package main

import (
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
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
func printDetections(out io.Writer, o options) {
	runs, seed := o.detections, o.seed
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

// regressions are what whole rollouts have to find.
func regressions() []null {
	with := func(name string, change func(*traffic)) null {
		t := usual()
		change(&t)
		return null{name, t}
	}
	return []null{
		with("errors to 100%", func(t *traffic) { t.bad[failed] = 1 }),
		with("errors to 20%", func(t *traffic) { t.bad[failed] = 0.2 }),
		with("errors to 2%", func(t *traffic) { t.bad[failed] = 0.02 }),
		with("TTFT x2", func(t *traffic) { t.slower = 2 }),
		with("TTFT x1.5", func(t *traffic) { t.slower = 1.5 }),
		with("TTFT x1.1", func(t *traffic) { t.slower = 1.1 }),
		with("TPOT x1.5", func(t *traffic) { t.slack = 1.5 }),
		with("half of the answers empty", func(t *traffic) { t.bad[empty] = 0.5 }),
		with("5% of the answers loop", func(t *traffic) { t.bad[loops] = 0.05 }),
		with("20% of the JSON is none", func(t *traffic) { t.bad[badJSON] = 0.2 }),
	}
}

// printRollouts measures how long whole rollouts take to abort.
func printRollouts(out io.Writer, o options) {
	fmt.Fprintf(out, "\nWhole rollouts at 5 %%, sessions of %g requests; time from the first traffic to the abort, %d runs of each\n", o.session, o.detections)
	fmt.Fprintf(out, "%-26s %6s %10s %10s %8s\n", "regression", "rps", "median", "p90", "missed")
	for _, rps := range []float64{2, 20} {
		for _, r := range regressions() {
			if !strings.Contains(fmt.Sprintf("%s at %g rps", r.name, rps), o.only) {
				continue
			}
			r.traffic.rps, r.traffic.perUser, r.traffic.voice = rps, o.session, 0.3
			times, missed := aborts(r.traffic, o)
			fmt.Fprintf(out, "%-26s %6g %10s %10s %8d\n", r.name, rps, quantile(times, o.detections, 0.5), quantile(times, o.detections, 0.9), missed)
		}
	}
}

func aborts(t traffic, o options) (times []time.Duration, missed int) {
	p := plan(2*time.Hour, o.guardrails...)
	for i := range o.detections {
		s, exposed := follow(p, newWorld(t, o.seed+uint64(i)), 2*time.Hour)
		if s.Phase == rollout.Aborting {
			times = append(times, exposed)
		} else {
			missed++
		}
	}
	slices.Sort(times)
	return times, missed
}
