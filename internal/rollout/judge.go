package rollout

import (
	"fmt"
	"math"
	"strings"

	"crossfade.dev/internal/rollout/stats"
)

// Verdict is what a guardrail says now: one of package stats' or of these.
type Verdict string

// The verdicts. Absent: traffic of this kind does not occur, in neither arm.
// Confounded: the arms are not comparable now. Waiting: a provider has not
// answered yet, or fails.
const (
	Insufficient Verdict = Verdict(stats.Insufficient)
	Inconclusive Verdict = Verdict(stats.Inconclusive)
	Pass         Verdict = Verdict(stats.Pass)
	Fail         Verdict = Verdict(stats.Fail)
	Absent       Verdict = "Absent"
	Confounded   Verdict = "Confounded"
	Waiting      Verdict = "Waiting"
)

// judge brings every guardrail's verdict up to date.
func (m *machine) judge() {
	if !m.Phase.Running() {
		return
	}
	for i := range m.plan.Analysis.Guardrails {
		g := &m.plan.Analysis.Guardrails[i]
		b := m.book(g)
		v, note := m.verdict(g, b)
		if v != b.Verdict {
			b.Since = m.At
		}
		b.Verdict, b.Note = v, note
	}
}

// weight is how much of the error budget a metric gets, relative to others. Metrics
// whose harm is small and slow to show get more: an e-value that has to reach 250 or
// 1,500 makes minutes there, and hardly a window where half of the answers are empty.
func weight(metric string) float64 {
	switch metric {
	case ErrorRate:
		return 6
	case TTFT:
		return 3
	case TPOT, E2E, SlowestGap:
		return 2
	}
	return 1
}

// shares reports whether the guardrail takes part in the error budget of those that
// abort.
func (g *Guardrail) shares() bool { return g.Class == Hard && !g.DryRun && !g.External }

// budget is the guardrail's part of the error budget: together those that abort have
// all of it, by their weights. Two tests, against stable and against the limit, share
// a part. One that does not abort is judged by the whole.
func (a *Analysis) budget(g *Guardrail) stats.Budget {
	alpha := a.Alpha
	if g.Class == Hard {
		alpha *= weight(g.Name) / max(a.weights(), weight(g.Name))
	}
	if g.Max > 0 {
		alpha /= 2
	}
	return stats.Budget{Alpha: alpha, Beta: a.Beta, MinSamples: g.MinSamples}
}

// weights is the sum of the weights among which the error budget is shared.
func (a *Analysis) weights() (sum float64) {
	for i := range a.Guardrails {
		if g := &a.Guardrails[i]; g.shares() {
			sum += weight(g.Name)
		}
	}
	return sum
}

// Measure returns what is known of the guardrail against stable.
func (b *Book) Measure(g *Guardrail) stats.Measurement {
	s := b.scale()
	signals := make([]stats.Measurement, len(b.Signals))
	for i := range b.Signals {
		signals[i] = b.Signals[i].Measure(s, g.Question)
	}
	return stats.Combine(signals)
}

// verdict judges one guardrail and says why in a few words, "" where nothing needs
// to be said.
func (m *machine) verdict(g *Guardrail, b *Book) (Verdict, string) {
	if g.External {
		return m.externalVerdict(g, b)
	}
	budget := m.plan.Analysis.budget(g)
	found := b.Measure(g)
	v := Verdict(found.Judge(budget))
	if v == Fail {
		return Fail, harmNote(g, found)
	}
	if b.Limit.Harm(b.scale()) >= -math.Log(budget.Alpha) && !b.degraded(g) {
		return Fail, fmt.Sprintf("%s of %d are bad, more than the %s that are good", Percent(b.Limit.Tally.Rate()), b.Limit.Tally.Units, Percent(g.Max))
	}
	if g.Loaded && m.overloaded() {
		note := fmt.Sprintf("not compared: an endpoint of the candidate gets %.1f times the requests of one of stable", m.loadRatio())
		if v == Insufficient {
			return Confounded, note
		}
		return v, note // from when they were comparable
	}
	if v == Insufficient && m.absent(g, found) {
		return Absent, "no such traffic"
	}
	if v == Insufficient {
		return v, fmt.Sprintf("%d of %d units seen", min(found.Table.Candidate.Units, found.Table.Stable.Units), g.MinSamples)
	}
	if g.Loaded && v == Pass && m.idle() {
		return v, "the candidate is less loaded than stable"
	}
	return v, ""
}

func harmNote(g *Guardrail, found stats.Measurement) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s against %s", Percent(found.Table.Candidate.Rate()), Percent(found.Table.Stable.Rate()))
	if g.latency() {
		b.WriteString(" are slower than stable's threshold")
	}
	fmt.Fprintf(&b, ", %s, e-value %.3g", found.Effect, math.Exp(min(found.Harm, 300)))
	if found.Strata > 1 {
		fmt.Fprintf(&b, ", most in stratum %s", found.Stratum)
	}
	return b.String()
}

// Percent prints a part of 1 as "12.3%".
func Percent(part float64) string { return fmt.Sprintf("%.3g%%", 100*part) }

// absent reports whether the guardrail's kind of traffic does not occur: neither arm
// has a unit of it, while others have enough.
func (m *machine) absent(g *Guardrail, found stats.Measurement) bool {
	if found.Table.Stable.Units > 0 || found.Table.Candidate.Units > 0 || m.Books[g.Name].trailed() {
		return false
	}
	return m.othersHave(g.MinSamples)
}

// othersHave reports whether some guardrail has seen so many units of both arms.
func (m *machine) othersHave(units int64) bool {
	for i := range m.plan.Analysis.Guardrails {
		if b := m.Books[m.plan.Analysis.Guardrails[i].Name]; b != nil && len(b.Signals) > 0 {
			if t := b.Signals[0].Total(); t.Candidate.Units >= units && t.Stable.Units >= units {
				return true
			}
		}
	}
	return false
}

// trailed reports whether latencies were seen, though perhaps too few for a
// threshold.
func (b *Book) trailed() bool {
	for _, t := range b.Trails {
		if len(t.Weight) > 0 {
			return true
		}
	}
	return false
}

func (m *machine) externalVerdict(g *Guardrail, b *Book) (Verdict, string) {
	x := b.External
	switch {
	case !x.Failing.IsZero():
		return Waiting, fmt.Sprintf("its provider has failed for %s: %s", Words(m.since(x.Failing)), x.Error)
	case x.At.IsZero():
		return Waiting, "its provider has not answered yet"
	case !(x.Value >= g.Low && x.Value <= g.High): // NaN is no good value
		return Fail, fmt.Sprintf("%.4g is outside %.4g to %.4g", x.Value, g.Low, g.High)
	}
	return Pass, fmt.Sprintf("%.4g", x.Value)
}

// guard acts on verdicts: harm aborts, doubt pauses. It looks in every running
// phase, also while paused: traffic flows there too.
func (m *machine) guard() {
	if !m.Phase.Running() {
		return
	}
	for i := range m.plan.Analysis.Guardrails {
		g := &m.plan.Analysis.Guardrails[i]
		b := m.Books[g.Name]
		if b == nil || g.DryRun || g.Class == Info || m.silenced(g) {
			continue
		}
		if done := m.guardOne(g, b); done {
			return
		}
	}
}

// silenced reports whether a person has resumed over the guardrail. One that aborts
// is silent only for as long as it could do no more than pause.
func (m *machine) silenced(g *Guardrail) bool {
	return m.acknowledged(g.Name) && (g.Class != Hard || g.External || m.fewEndpoints(g))
}

func (m *machine) guardOne(g *Guardrail, b *Book) bool {
	switch {
	case b.Verdict == Fail && g.Class == Hard && !m.fewEndpoints(g):
		m.abort("GuardrailFailed", g.Name+": "+b.Note, "")
		return true
	case m.Pause != nil:
		return false
	case b.Verdict == Fail && g.Class == Hard:
		m.pause(Pause{Reason: "FewEndpoints", Guardrail: g.Name, Message: fmt.Sprintf("%s: %s; with %d endpoint a bad pod looks like a bad version", g.Name, b.Note, m.Last.Candidate.Ready)})
	case b.Verdict == Fail:
		m.pause(Pause{Reason: "GuardrailFailed", Guardrail: g.Name, Message: g.Name + ": " + b.Note})
	case b.degraded(g):
		m.pause(Pause{Reason: "StableDegraded", Guardrail: g.Name, Message: fmt.Sprintf("%s: stable itself has %s lately, more than the %s that are good", g.Name, Percent(b.Recent.Events/b.Recent.Units), Percent(g.Max))})
	case g.External && m.since(b.External.Failing) >= m.plan.Analysis.StallTimeout:
		return m.stall(g, b)
	}
	return false
}

// stall is what happens when a provider has failed for too long.
func (m *machine) stall(g *Guardrail, b *Book) bool {
	if m.plan.Analysis.AbortOnStall && g.Class == Hard {
		m.abort("ProviderStalled", g.Name+": "+b.Note, "")
		return true
	}
	m.pause(Pause{Reason: "ProviderStalled", Guardrail: g.Name, Message: g.Name + ": " + b.Note})
	return false
}

// fewEndpoints reports whether the candidate has too few for a latency to speak of
// the version.
func (m *machine) fewEndpoints(g *Guardrail) bool {
	return g.Loaded && m.Last.Candidate.Known && m.Last.Candidate.Ready < g.MinEndpoints
}

// Bounds of the load ratio within which latencies are comparable, and the running
// requests per endpoint below which load does not matter.
const (
	minLoadRatio = 0.67
	maxLoadRatio = 1.3
	someLoad     = 2.0
)

func (a Arm) load() float64 {
	if a.Ready == 0 {
		return float64(a.Running + a.Waiting)
	}
	return float64(a.Running+a.Waiting) / float64(a.Ready)
}

// loadRatio is how many requests one endpoint of the candidate gets for each that
// one of stable gets; 1 when that is not known, or nobody is loaded, or stable gets
// none. It is reckoned from the share and not from running requests: a slow version
// has more of those because it is slow, and that must not excuse it.
func (m *machine) loadRatio() float64 {
	c, s := m.Last.Candidate, m.Last.Stable
	if !c.Known || !s.Known || c.Ready == 0 || s.Ready == 0 || c.load() < someLoad && s.load() < someLoad {
		return 1
	}
	if m.Share.Set == 0 || m.Share.Set == Whole {
		return 1
	}
	return float64(m.Share.Set) / float64(c.Ready) / (float64(Whole-m.Share.Set) / float64(s.Ready))
}

func (m *machine) overloaded() bool { return m.loadRatio() > maxLoadRatio }
func (m *machine) idle() bool       { return m.loadRatio() < minLoadRatio }
