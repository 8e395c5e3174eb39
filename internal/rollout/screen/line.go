package screen

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/rollout"
)

// Log turns reports into lines, one for each that differs in what matters: phase,
// step, share, what is waited for, verdicts.
type Log struct {
	last     string
	verdicts map[string]rollout.Verdict
}

// Line returns the line of a report, "" when nothing that matters has changed.
func (g *Log) Line(r *rollout.Report) string {
	text := g.Changes(r)
	if text == "" {
		return ""
	}
	return strings.Join([]string{r.At.UTC().Format(time.RFC3339), clean(r.Name), text}, "  ")
}

// Changes is the line without time and name.
func (g *Log) Changes(r *rollout.Report) string {
	changes, now := g.changed(r)
	head := fmt.Sprintf("%s step %d/%d share %s", r.Phase, r.Step, r.Steps, r.Set)
	if r.Doing != "" {
		head = fmt.Sprintf("%s step %d/%d (%s) share %s", r.Phase, r.Step, r.Steps, r.Doing, r.Set)
	}
	if !r.Verified && r.Number > 0 {
		head += " (not in force yet)"
	}
	why := r.Reason
	switch {
	case r.Phase == rollout.Aborting:
		why = r.Message
	case !r.Phase.Running() || r.Phase == rollout.Paused:
		why = r.Next
	}
	key := head + "|" + r.Reason
	if key == g.last && len(changes) == 0 {
		return ""
	}
	g.last, g.verdicts = key, now
	parts := []string{head}
	if len(changes) > 0 {
		parts = append(parts, strings.Join(changes, ", "))
	}
	if why != "" {
		parts = append(parts, "("+clean(why)+")")
	}
	return strings.Join(parts, "  ")
}

func (g *Log) changed(r *rollout.Report) (changes []string, now map[string]rollout.Verdict) {
	now = map[string]rollout.Verdict{}
	for _, x := range r.Guardrails {
		now[x.Name] = x.Verdict
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		before := g.verdicts[name]
		if before == "" {
			before = rollout.Insufficient // where all begin
		}
		if now[name] != "" && now[name] != before {
			changes = append(changes, clean(fmt.Sprintf("%s=%s", name, now[name])))
		}
	}
	return changes, now
}

// Table prints many rollouts, one a row.
func Table(reports []*rollout.Report, o Options) string {
	var g grid
	g.head("NAME", "STATUS", "STEP", "SHARE", "ATTEMPT", "AGE", "CANDIDATE", "INFO")
	for _, r := range reports {
		icon, hue := sign(r.Phase)
		step, age := "–", "–"
		if r.Steps > 0 {
			step = fmt.Sprintf("%d/%d", r.Step, r.Steps)
		}
		if !r.Started.IsZero() {
			age = Span(o.Now.Sub(r.Started))
		}
		g.row(text(r.Name), line{{icon + " " + string(r.Phase), hue}}, text(step), text(r.Set.String()), text(fmt.Sprint(r.Number)), text(age), text(r.Candidate), text(r.Next))
	}
	var b strings.Builder
	for _, l := range g.lines() {
		l.cut(o.Width).paint(&b, o.Colour)
		b.WriteByte('\n')
	}
	return b.String()
}
