package rollout

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"crossfade.dev/internal/rollout/stats"
)

// ExplainGuardrail prints all that is known of one guardrail: what is compared, what
// would change the verdict, and every signal and stratum with its counts and
// evidence. ok is false when there is no such guardrail.
func ExplainGuardrail(plan *Plan, s *State, name string) (text string, ok bool) {
	i := slices.IndexFunc(plan.Analysis.Guardrails, func(g Guardrail) bool { return g.Name == name })
	if i < 0 {
		return "", false
	}
	g, b := &plan.Analysis.Guardrails[i], s.Books[name]
	if b == nil || !b.fits(g) {
		return name + ": nothing seen yet\n", true
	}
	m := &machine{plan: plan, State: s.clone()}
	r := m.explain(g, b)
	var out strings.Builder
	fmt.Fprintf(&out, "%s (%s): %s", name, strings.ToLower(string(g.Class)), r.Verdict)
	if r.Note != "" {
		out.WriteString(" (" + r.Note + ")")
	}
	out.WriteString("\n")
	if g.DryRun {
		out.WriteString("dry run: its verdict has no consequence\n")
	}
	if g.External {
		fmt.Fprintf(&out, "a provider outside reports it; good is %.4g to %.4g\n", g.Low, g.High)
		return out.String(), true
	}
	fmt.Fprintf(&out, "fails when the odds are shown to be more than %.4g times stable's: e-value %.3g of %.4g\n", g.Question.HarmMargin, r.E, r.Threshold)
	fmt.Fprintf(&out, "passes when they are shown to be less than %.4g times stable's: e-value %.3g of %.4g\n", g.Question.PassMargin, math.Exp(min(r.Known.Pass, 700)), 1/plan.Analysis.Beta)
	if g.Max > 0 {
		fmt.Fprintf(&out, "fails too when the candidate's rate is shown to be above %s: e-value %.3g of %.4g; %d of %d are bad\n", Percent(g.Max),
			math.Exp(min(b.Limit.Harm(b.scale()), 700)), r.Threshold, b.Limit.Tally.Events, b.Limit.Tally.Units)
	}
	if f := b.Halves.Factor(); b.Halves.Windows > 0 {
		fmt.Fprintf(&out, "stable against itself varies %.2f times as much as chance; evidence counts %.2f\n", f, b.Halves.Temper())
	}
	m.explainChange(g, b, r, &out)
	for _, x := range r.Signals {
		if x.Stable > 0 && g.Name != OutputTokens {
			fmt.Fprintf(&out, "%s lately: stable %s, candidate %s\n", x.Name, Milliseconds(x.Stable), Milliseconds(x.Candidate))
		}
	}
	b.explainSignals(g, &out)
	return out.String(), true
}

// Milliseconds prints a latency with about three digits.
func Milliseconds(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	switch {
	case ms < 9.95:
		return fmt.Sprintf("%.1fms", ms)
	case ms < 9999.5:
		return fmt.Sprintf("%.0fms", ms)
	}
	return fmt.Sprintf("%.1fs", ms/1000)
}

// explainChange says what would change a verdict that is open: more of the same, or
// other counts in as many units.
func (m *machine) explainChange(g *Guardrail, b *Book, r GuardrailReport, out *strings.Builder) {
	if r.Verdict != Inconclusive && r.Verdict != Insufficient && r.Verdict != Pass {
		return
	}
	if r.More > 0 && r.Verdict != Pass {
		fmt.Fprintf(out, "about %d more units of the candidate conclude, if they are like those so far", r.More)
		if rate := float64(m.Last.Candidate.Arrivals) / max(1, float64(m.Last.Candidate.Arrivals+m.Last.Stable.Arrivals)) * m.Last.Rate; rate > 0 {
			fmt.Fprintf(out, "; at %.2g a second that is %s", rate, Words(time.Duration(min(float64(r.More)/rate, 1e8)*float64(time.Second))))
		}
		out.WriteString("\n")
	}
	table := r.Known.Table
	fail, pass := wouldBe(b.scale(), g.Question, m.plan.Analysis.budget(g), table)
	what := "events"
	if g.latency() {
		what = "slow ones"
	}
	if n := table.Candidate.Units; fail >= 0 {
		fmt.Fprintf(out, "in as many units, about %d %s (%s) would fail it, at stable's %s\n", fail, what, Percent(float64(fail)/float64(n)), Percent(table.Stable.Rate()))
	}
	if n := table.Candidate.Units; pass >= 0 && r.Verdict != Pass {
		fmt.Fprintf(out, "in as many units, at most about %d %s (%s) would pass it\n", pass, what, Percent(float64(pass)/float64(n)))
	}
}

// wouldBe returns how many events the candidate would need among its units to fail,
// and at most to pass, were all seen in one window of one stratum; -1 is never.
// Only harm by more events is looked for.
func wouldBe(s stats.Scale, q stats.Question, budget stats.Budget, t stats.Table) (fail, pass int64) {
	if q.Direction == stats.LowerIsWorse || t.Candidate.Units == 0 || t.Stable.Units == 0 {
		return -1, -1
	}
	measure := func(events int64) stats.Measurement {
		var e stats.Evidence
		x := t
		x.Candidate.Events = events
		e.Add(s, q, "", x, 1)
		return e.Measure(s, q)
	}
	n := t.Candidate.Units
	least := int64(math.Ceil(t.Stable.Rate() * float64(n))) // from here on more is worse
	fail = least + first(n-least+1, func(i int64) bool { return measure(least+i).Harm >= -math.Log(budget.Alpha) })
	if fail > n {
		fail = -1
	}
	if q.Direction == stats.EitherIsWorse || n < budget.MinSamples || t.Stable.Units < budget.MinSamples {
		return fail, -1
	}
	return fail, first(n+1, func(i int64) bool { return measure(i).Pass < -math.Log(budget.Beta) }) - 1
}

// first returns the smallest i in [0, n) for which ok holds, n for none; ok is
// false, then true.
func first(n int64, ok func(int64) bool) int64 {
	low, high := int64(0), n
	for low < high {
		if middle := low + (high-low)/2; ok(middle) {
			high = middle
		} else {
			low = middle + 1
		}
	}
	return low
}

func (b *Book) explainSignals(g *Guardrail, out *strings.Builder) {
	scale := b.scale()
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "SIGNAL\tSTRATUM\tSTABLE\tCANDIDATE\tEFFECT [95%]")
	for i := range b.Signals {
		for _, x := range b.Signals[i].Strata {
			name := x.Name
			if name == "" {
				name = "-"
			}
			fmt.Fprintf(w, "%s\t%s\t%d/%d\t%d/%d\t%s\n", g.signal(i), name, x.Table.Stable.Events, x.Table.Stable.Units,
				x.Table.Candidate.Events, x.Table.Candidate.Units, scale.Interval(x.Likelihood, 0.05))
		}
	}
	w.Flush() // to memory: never fails
}

// signal names a signal of the guardrail.
func (g *Guardrail) signal(i int) string {
	switch {
	case !g.latency():
		return "events"
	case i < len(g.Quantiles):
		return fmt.Sprintf("above stable's p%.4g", 100*g.Quantiles[i])
	}
	return "above " + g.Limit.Round(time.Millisecond).String()
}
