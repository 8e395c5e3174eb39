package rollout

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
)

// String prints the report for scripts, on fewer lines than package screen does for
// people.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Name:    %s  attempt %d\n", r.Name, r.Number)
	fmt.Fprintf(&b, "Status:  %s", r.Phase)
	if r.Doing != "" {
		fmt.Fprintf(&b, "  step %d/%d (%s)", r.Step, r.Steps, r.Doing)
	}
	fmt.Fprintf(&b, "\nStable:  %s\nCandidate: %s\nShare:   set %s", r.Stable, r.Candidate, r.Set)
	if !math.IsNaN(r.Observed) {
		fmt.Fprintf(&b, "  observed %s", Percent(r.Observed))
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
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%.3g/%.4g\t%d\t%s\n", g.Name, g.Verdict, Percent(t.Stable.Rate()), Percent(t.Candidate.Rate()),
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
