// Package screen prints a rollout for people at a terminal: one screen that says
// how it stands and why, a line for a log, and a table of many.
package screen

import (
	"fmt"
	"math"
	"strings"
	"time"

	"crossfade.dev/internal/rollout"
)

// Options say how to print.
type Options struct {
	// Now is the reader's time. Zero: that of the report's last event.
	Now time.Time
	// Width in columns that lines are cut to; 0 is no limit.
	Width  int
	Colour bool
}

// Icon is the sign of a phase.
func Icon(p rollout.Phase) string { s, _ := sign(p); return s }

func sign(p rollout.Phase) (string, hue) {
	switch p {
	case rollout.Promoted:
		return "✔", good
	case rollout.Aborted, rollout.Aborting:
		return "✖", bad
	case rollout.Paused:
		return "॥", warn
	case rollout.Superseded:
		return "⚠", warn
	case rollout.Idle, "":
		return "•", faint
	}
	return "◌", busy
}

// Print returns the screen of a report. notes are lines of the caller's, shown last.
func Print(r *rollout.Report, o Options, notes ...string) string {
	if o.Now.IsZero() {
		o.Now = r.At
	}
	lines := header(r, o)
	for _, part := range [][]line{guardrails(r), endpoints(r), history(r, o)} {
		if len(part) > 0 {
			lines = append(append(lines, nil), part...)
		}
	}
	if len(notes) > 0 {
		lines = append(lines, nil)
	}
	for _, n := range notes {
		lines = append(lines, text(n))
	}
	var b strings.Builder
	for _, l := range lines {
		l.cut(o.Width).paint(&b, o.Colour)
		b.WriteByte('\n')
	}
	return b.String()
}

// header says what is rolled out, how far it is and what comes next.
func header(r *rollout.Report, o Options) []line {
	var out []line
	add := func(name string, value ...span) {
		out = append(out, append(line{{fmt.Sprintf("%-11s", name+":"), faint}}, value...))
	}
	attempt := ""
	if r.Number > 0 {
		attempt = fmt.Sprintf("   attempt %d", r.Number)
		if !r.Started.IsZero() {
			attempt += ", begun " + Ago(o.Now.Sub(r.Started))
		}
	}
	add("Name", span{clean(r.Name), strong}, span{attempt, plain})
	icon, hue := sign(r.Phase)
	status := line{{icon + " " + string(r.Phase), hue}}
	if r.Doing != "" && !over(r.Phase) {
		status = append(status, span{fmt.Sprintf("   step %d/%d (%s)", r.Step, r.Steps, r.Doing), plain})
	}
	if r.Unpowered {
		status = append(status, span{"   ⚠ a step passed without enough data", warn})
	}
	if r.Drift {
		status = append(status, span{"   ⚠ the plan was changed on the way", warn})
	}
	add("Status", status...)
	if r.Phase == rollout.Aborting {
		add("Because", span{clean(r.Message), bad})
	}
	if r.Next != "" {
		add(reasonName(r), span{clean(r.Next), reasonHue(r)})
	}
	if next := dueText(r.Due, o.Now); next != "" {
		add("Next", span{next, plain})
	}
	if l := silence(r, o.Now); l != "" {
		add("Last seen", span{l, warn})
	}
	add("Target", span{clean(r.Target), plain})
	add("Stable", span{clean(r.Stable), plain})
	add("Candidate", span{clean(r.Candidate), plain})
	if r.Number > 0 {
		add("Share", share(r)...)
		add("Load", load(r))
	}
	if len(r.Plan) > 0 {
		add("Steps", steps(r, o.Width)...)
	}
	return out
}

// over reports whether the attempt is, so that its step is history.
func over(p rollout.Phase) bool {
	return p == rollout.Promoted || p == rollout.Aborted || p == rollout.Idle || p == ""
}

func reasonName(r *rollout.Report) string {
	switch {
	case r.Phase == rollout.Paused:
		return "Paused by"
	case r.Waits:
		return "Waits for"
	case r.Phase.Running():
		return "Now"
	}
	return "Because"
}

func reasonHue(r *rollout.Report) hue {
	if r.Phase == rollout.Promoted || r.Waits || r.Phase.Running() && r.Phase != rollout.Paused {
		return plain
	}
	_, h := sign(r.Phase)
	return h
}

// dueText says what comes by itself, and when.
func dueText(d rollout.Due, now time.Time) string {
	switch {
	case d.What == "":
		return ""
	case d.At.IsZero():
		return d.What
	case !d.At.After(now):
		return d.What + ", any moment"
	}
	return fmt.Sprintf("%s in %s (%s)", d.What, Span(d.At.Sub(now)), d.At.Format("15:04:05"))
}

// silence says for how long nothing was heard, when that is long.
func silence(r *rollout.Report, now time.Time) string {
	const long = 30 * time.Second
	if d := now.Sub(r.At); r.Number > 0 && !over(r.Phase) && d > long {
		return Span(d) + " ago: is its controller running?"
	}
	return ""
}

func share(r *rollout.Report) line {
	l := line{{"set " + r.Set.String(), strong}}
	if !math.IsNaN(r.Observed) {
		l = append(l, span{fmt.Sprintf("   observed %s", rollout.Percent(r.Observed)), plain})
	}
	if r.Verified {
		return append(l, span{"   ✔ verified", good})
	}
	return append(l, span{"   ◷ not in force at every gateway yet", warn})
}

func load(r *rollout.Report) span {
	t := fmt.Sprintf("%.3g requests/s   in flight: stable %d, candidate %d", r.Last.Rate, r.InFlight[0], r.InFlight[1])
	if r.Phase.Running() {
		t += fmt.Sprintf("   load ratio %.2f", r.LoadRatio)
	}
	return span{t, plain}
}

// Span prints a duration for people: "1h2m", "3m10s", "8s".
func Span(d time.Duration) string {
	d = max(d, 0)
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	case d >= time.Hour:
		return fmt.Sprintf("%dh%dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return rollout.Words(d)
}

// Ago prints how long ago something was.
func Ago(d time.Duration) string {
	if d < time.Second {
		return "just now"
	}
	return Span(d) + " ago"
}
