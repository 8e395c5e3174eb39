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

// Report is a rollout in words and numbers, for people. It is made of plan and
// state alone.
type Report struct {
	Name              string
	Phase             Phase
	Number            int64
	Stable, Candidate string
	// Step and Steps count from 1; Doing is the step in words.
	Step, Steps int
	Doing       string
	Set         Share
	Observed    float64 // candidate's part of the arrivals; NaN: not known
	Verified    bool
	LoadRatio   float64
	InFlight    [2]int64 // of stable, candidate
	// Next is what will happen next, or what is waited for.
	Next       string
	Guardrails []GuardrailReport
	History    []Record
}

// GuardrailReport is what is known of one guardrail.
type GuardrailReport struct {
	Name    string
	Class   Class
	DryRun  bool
	Verdict Verdict
	Note    string
	Known   stats.Measurement
	// E is the e-value of harm, Threshold the value at which it fails.
	E, Threshold float64
	// More is about how many more units of the candidate it takes to conclude, at
	// the effect seen so far; 0 when that cannot be said.
	More int64
}

// Explain returns the report of a state under its plan.
func Explain(plan *Plan, s *State) Report {
	m := &machine{plan: plan, State: s.clone()}
	r := Report{Name: plan.Name, Phase: m.phase(), Number: s.Number, Stable: s.Stable, Candidate: s.Candidate,
		Step: min(s.Step+1, len(s.Steps)), Steps: len(s.Steps), Set: s.Share.Set, Observed: math.NaN(), Verified: s.Share.Verified,
		LoadRatio: m.loadRatio(), InFlight: [2]int64{s.Last.Stable.InFlight, s.Last.Candidate.InFlight}, Next: m.next(), History: s.History}
	if part, ok := s.Share.Observed(); ok {
		r.Observed = part
	}
	if step, ok := m.current(); ok {
		r.Doing = step.String()
	}
	for i := range plan.Analysis.Guardrails {
		g := &plan.Analysis.Guardrails[i]
		if b := s.Books[g.Name]; b != nil && b.fits(g) {
			r.Guardrails = append(r.Guardrails, m.explain(g, b))
		}
	}
	return r
}

func (m *machine) explain(g *Guardrail, b *Book) GuardrailReport {
	budget := m.plan.Analysis.budget(g)
	known := b.Measure(g)
	return GuardrailReport{Name: g.Name, Class: g.Class, DryRun: g.DryRun, Verdict: b.Verdict, Note: b.Note, Known: known,
		E: math.Exp(min(known.Harm, 700)), Threshold: 1 / budget.Alpha, More: more(known, budget)}
}

// more extrapolates: evidence grows in proportion to what is seen.
func more(k stats.Measurement, b stats.Budget) int64 {
	n := k.Table.Candidate.Units
	best := math.Inf(1)
	for _, c := range []struct{ now, want float64 }{{k.Harm, -math.Log(b.Alpha)}, {k.Pass, -math.Log(b.Beta)}} {
		if c.now >= c.want {
			return max(0, b.MinSamples-n)
		}
		if c.now > 0.5 && n > 0 {
			best = min(best, float64(n)*(c.want/c.now-1))
		}
	}
	if math.IsInf(best, 1) || best > 1e9 {
		return 0
	}
	return max(int64(math.Ceil(best)), b.MinSamples-n)
}

// next says what comes next by itself, or who has to do what.
func (m *machine) next() string {
	switch {
	case m.Pause != nil:
		return m.Pause.Reason + ": " + m.Pause.Message
	case m.Hold != "":
		return m.Hold + ": " + m.HoldMessage
	case m.Phase.Running():
		return "goes on with the next observation"
	case m.Message != "":
		return m.Message
	}
	return ""
}

// String prints the report as the command line shows it.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Name:    %s  attempt %d\n", r.Name, r.Number)
	fmt.Fprintf(&b, "Status:  %s", r.Phase)
	if r.Doing != "" {
		fmt.Fprintf(&b, "  step %d/%d (%s)", r.Step, r.Steps, r.Doing)
	}
	fmt.Fprintf(&b, "\nStable:  %s\nCandidate: %s\nShare:   set %s", r.Stable, r.Candidate, r.Set)
	if !math.IsNaN(r.Observed) {
		fmt.Fprintf(&b, "  observed %s", percent(r.Observed))
	}
	if r.Verified {
		b.WriteString("  verified")
	}
	fmt.Fprintf(&b, "\nLoad:    in flight %d stable, %d candidate; ratio %.2f\n", r.InFlight[0], r.InFlight[1], r.LoadRatio)
	if r.Next != "" {
		fmt.Fprintf(&b, "Next:    %s\n", r.Next)
	}
	r.table(&b)
	return b.String()
}

func (r Report) table(b *strings.Builder) {
	if len(r.Guardrails) == 0 {
		return
	}
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "\nGUARDRAIL\tVERDICT\tSTABLE\tCANDIDATE\tEFFECT [95%]\tE-HARM\tN\tNOTE")
	for _, g := range r.Guardrails {
		notes := slices.DeleteFunc([]string{kind(g), g.Note, toGo(g)}, func(s string) bool { return s == "" })
		t := g.Known.Table
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.3g/%.4g\t%d\t%s\n", g.Name, g.Verdict, percent(t.Stable.Rate()), percent(t.Candidate.Rate()),
			g.Known.Effect, g.E, g.Threshold, t.Candidate.Units, strings.Join(notes, "; "))
	}
	w.Flush() // to memory: never fails
}

func kind(g GuardrailReport) string {
	switch {
	case g.DryRun:
		return "dry run"
	case g.Class != Hard:
		return strings.ToLower(string(g.Class))
	}
	return ""
}

func toGo(g GuardrailReport) string {
	if g.More == 0 || g.Verdict != Inconclusive && g.Verdict != Insufficient {
		return ""
	}
	return fmt.Sprintf("about %d more to conclude", g.More)
}

// ExplainGuardrail prints all that is known of one guardrail: every signal and
// stratum with its counts and evidence. ok is false when there is no such guardrail.
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
	fmt.Fprintf(&out, "\nfails when the odds are shown to be more than %.4g times stable's: e-value %.3g of %.4g\n", g.Question.HarmMargin, r.E, r.Threshold)
	fmt.Fprintf(&out, "passes when they are shown to be less than %.4g times stable's: e-value %.3g of %.4g\n", g.Question.PassMargin, math.Exp(min(r.Known.Pass, 700)), 1/plan.Analysis.Beta)
	if f := b.Halves.Factor(); b.Halves.Windows > 0 {
		fmt.Fprintf(&out, "stable against itself varies %.2f times as much as chance; evidence counts %.2f\n", f, b.Halves.Temper())
	}
	b.explainSignals(g, &out)
	return out.String(), true
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
