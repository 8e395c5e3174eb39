package screen

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"crossfade.dev/internal/rollout"
)

// mark is a verdict with its icon.
func mark(v rollout.Verdict) span {
	switch v {
	case rollout.Pass:
		return span{"✔ pass", good}
	case rollout.Fail:
		return span{"✖ fail", bad}
	case rollout.Inconclusive:
		return span{"? inconclusive", warn}
	case rollout.Insufficient, "":
		return span{"◌ collecting", busy}
	case rollout.Confounded:
		return span{"⚠ confounded", warn}
	case rollout.Waiting:
		return span{"◷ waiting", warn}
	case rollout.Absent:
		return span{"• absent", faint}
	}
	return span{clean(string(v)), plain}
}

// guardrails is the table of what is watched. A latency has a row for each quantile
// below its own, with both arms' latencies.
func guardrails(r *rollout.Report) []line {
	if len(r.Guardrails) == 0 {
		return nil
	}
	var g grid
	g.head("GUARDRAIL", "STATE", "STABLE", "CANDIDATE", "EFFECT [95%]", "E-HARM", "N", "NOTE")
	for i := range r.Guardrails {
		x := &r.Guardrails[i]
		t, effect := x.Known.Table, x.Known.Effect.String()
		stable, candidate := rollout.Percent(t.Stable.Rate()), rollout.Percent(t.Candidate.Rate())
		if t.Stable.Units == 0 {
			stable = "–"
		}
		if t.Candidate.Units == 0 {
			candidate, effect = "–", "–"
		}
		if len(x.Signals) > 0 {
			stable, candidate = "", "" // below, by quantile
		}
		g.row(text(x.Name), line{mark(x.Verdict)}, text(stable), text(candidate), text(effect),
			text(fmt.Sprintf("%.3g/%.4g", x.E, x.Threshold)), text(fmt.Sprint(t.Candidate.Units)), text(note(x)))
		for _, s := range x.Signals {
			g.signal(x.Name, s)
		}
	}
	return g.lines()
}

func (g *grid) signal(metric string, s rollout.SignalReport) {
	t := s.Known.Table
	if t.Candidate.Units == 0 {
		return
	}
	stable, candidate := rollout.Percent(t.Stable.Rate()), rollout.Percent(t.Candidate.Rate())
	remark := ""
	if s.Quantile > 0 {
		remark = fmt.Sprintf("slower: stable %s, candidate %s", stable, candidate)
		stable, candidate = "–", "–"
		if s.Stable > 0 {
			stable, candidate = amount(metric, s.Stable), amount(metric, s.Candidate)
		}
	}
	if metric == rollout.OutputTokens {
		remark = strings.Replace(remark, "slower", "longer", 1)
	}
	g.row(line{{"  " + s.Name, faint}}, nil, text(stable), text(candidate), text(s.Known.Effect.String()), nil, nil, line{{remark, faint}})
}

// amount prints a latency, or a number of tokens, for which milliseconds stand.
func amount(metric string, d time.Duration) string {
	if metric == rollout.OutputTokens {
		return fmt.Sprintf("%d tok", d.Milliseconds())
	}
	return rollout.Milliseconds(d)
}

func note(x *rollout.GuardrailReport) string {
	parts := []string{}
	switch {
	case x.DryRun:
		parts = append(parts, "dry run")
	case x.Class != rollout.Hard:
		parts = append(parts, strings.ToLower(string(x.Class)))
	}
	if x.Note != "" {
		parts = append(parts, x.Note)
	}
	if x.More > 0 && (x.Verdict == rollout.Inconclusive || x.Verdict == rollout.Insufficient) {
		parts = append(parts, fmt.Sprintf("about %d more to conclude", x.More))
	}
	return strings.Join(parts, "; ")
}

// endpoints is what is known of both sides' endpoints.
func endpoints(r *rollout.Report) []line {
	c, s := r.Last.Candidate, r.Last.Stable
	if !c.Known && !s.Known {
		return nil
	}
	var g grid
	g.head("SIDE", "ENDPOINTS READY", "RUNNING", "WAITING", "KV", "REQUESTS/S", "IN FLIGHT")
	total := c.Arrivals + s.Arrivals
	for _, x := range []struct {
		name string
		arm  rollout.Arm
	}{{"stable", s}, {"candidate", c}} {
		a := x.arm
		if !a.Known {
			g.row(text(x.name), line{{"? not known", warn}})
			continue
		}
		rate := 0.0
		if total > 0 {
			rate = r.Last.Rate * float64(a.Arrivals) / float64(total)
		}
		ready := span{fmt.Sprintf("✔ %d", a.Ready), good}
		if a.Ready == 0 {
			ready = span{"✖ 0", bad}
		}
		g.row(text(x.name), line{ready}, text(fmt.Sprint(a.Running)), text(fmt.Sprint(a.Waiting)), text(rollout.Percent(a.KV)), text(fmt.Sprintf("%.3g", rate)), text(fmt.Sprint(a.InFlight)))
	}
	out := g.lines()
	if n := len(r.Last.NoModel); n > 0 {
		out = append(out, line{{fmt.Sprintf("⚠ %d endpoints of the candidate do not serve its model: %s", n, clean(strings.Join(r.Last.NoModel[:min(n, 3)], ", "))), warn}})
	}
	if n := len(r.Last.Missing); n > 0 {
		out = append(out, line{{"⚠ no counts of " + clean(strings.Join(r.Last.Missing[:min(n, 3)], ", ")), warn}})
	}
	return out
}

// shown is how many past attempts a screen has room for.
const shown = 5

// history is the last attempts that ended, the latest first.
func history(r *rollout.Report, o Options) []line {
	if len(r.History) == 0 {
		return nil
	}
	var g grid
	g.head("ATTEMPT", "OUTCOME", "CANDIDATE", "ENDED", "TOOK", "AT", "WHY")
	for i, h := range slices.Backward(r.History) {
		if len(r.History)-i > shown {
			break
		}
		icon, hue := sign(h.Outcome)
		why := h.Reason
		if h.Message != "" {
			why += ": " + h.Message
		}
		g.row(text(fmt.Sprint(h.Number)), line{{icon + " " + string(h.Outcome), hue}}, text(h.Candidate), text(Ago(o.Now.Sub(h.Ended))),
			text(Span(h.Ended.Sub(h.Started))), text(h.Share.String()), text(why))
	}
	return g.lines()
}
