package rollout

import (
	"slices"

	"crossfade.dev/internal/rollout/stats"
)

func newBook(g *Guardrail) *Book {
	return &Book{Margins: g.Question.Margins(), Signals: make([]stats.Evidence, g.signals())}
}

// signals is how many tests the guardrail makes: one for each quantile and one for
// a limit, or one for events.
func (g *Guardrail) signals() int {
	n := len(g.Quantiles)
	if g.Limit > 0 {
		n++
	}
	return max(n, 1)
}

func (g *Guardrail) latency() bool { return len(g.Quantiles) > 0 || g.Limit > 0 }

func (b *Book) scale() stats.Scale { return stats.NewScale(b.Margins...) }

// fits reports whether the book answers the guardrail's question.
func (b *Book) fits(g *Guardrail) bool {
	if !slices.Equal(b.Margins, g.Question.Margins()) || len(b.Signals) != g.signals() {
		return false
	}
	s := b.scale()
	for i := range b.Signals {
		if !b.Signals[i].Fits(s) {
			return false
		}
	}
	return b.Limit.Fits(s)
}

// add adds one window of one stratum. overloaded: the candidate has more load than
// stable, so its latency says nothing of the version. settled: it is warm.
func (b *Book) add(g *Guardrail, stratum string, x Sample, overloaded, settled bool) {
	if x.Table.Check() != nil || !x.Candidate.Check() || !x.Stable.Check() || x.Pairs.Worse < 0 || x.Pairs.Better < 0 || x.Pairs.Same < 0 {
		return // a broken counter; dropped for both arms
	}
	s := b.scale()
	b.addPairs(g, s, x.Pairs)
	if !g.latency() {
		b.addLimit(g, s, x.Table)
		b.Signals[0].Add(s, g.Question, stratum, x.Table, b.Halves.Temper())
		if x.Halves != nil {
			b.Halves.Add(x.Halves.Table)
		}
		return
	}
	stratum = b.trail(stratum)
	trail := b.Trails[stratum]
	if settled {
		b.Lately.Candidate.Add(x.Candidate)
		b.Lately.Stable.Add(x.Stable)
	}
	if settled && !overloaded {
		b.addQuantiles(g, s, stratum, trail, x)
	}
	if g.Limit > 0 {
		edge := stats.Bucket(g.Limit)
		table := stats.Table{Candidate: x.Candidate.Above(edge), Stable: x.Stable.Above(edge)}
		if settled {
			b.addLimit(g, s, table)
		}
		if settled && !overloaded {
			b.Signals[len(g.Quantiles)].Add(s, g.Question, stratum, table, b.Halves.Temper())
		}
	}
	trail.Add(x.Stable)
	b.Trails[stratum] = trail
}

// addQuantiles compares exceedances of stable's past quantiles. The thresholds are
// those of before the window.
func (b *Book) addQuantiles(g *Guardrail, s stats.Scale, stratum string, trail stats.Trail, x Sample) {
	temper, shift := b.Halves.Temper(), stats.Shift(g.Tolerance)
	for i, q := range g.Quantiles {
		edge, ok := trail.Quantile(q)
		if !ok {
			continue
		}
		b.Signals[i].Add(s, g.Question, stratum, stats.Table{Candidate: x.Candidate.Above(edge + shift), Stable: x.Stable.Above(edge)}, temper)
		if i == 0 && x.Halves != nil && x.Halves.A.Check() && x.Halves.B.Check() {
			b.Halves.Add(stats.Table{Candidate: x.Halves.A.Above(edge), Stable: x.Halves.B.Above(edge)})
		}
	}
}

// trail returns the stratum's name among the trails, at most stats.MaxStrata.
func (b *Book) trail(stratum string) string {
	if b.Trails == nil {
		b.Trails = map[string]stats.Trail{}
	}
	if _, ok := b.Trails[stratum]; !ok && len(b.Trails) >= stats.MaxStrata-1 {
		return stats.Other
	}
	return stratum
}

// addPairs adds compared answers.
func (b *Book) addPairs(g *Guardrail, s stats.Scale, p Pairs) {
	if p.Total() == 0 {
		return
	}
	b.Pairs = Pairs{b.Pairs.Worse + p.Worse, b.Pairs.Better + p.Better, b.Pairs.Same + p.Same}
	b.Signals[0].AddPairs(s, g.Question, p.Worse, p.Better)
}

// recently is what is left of a window's weight after each further one.
const recently = 0.9

// addLimit compares each arm with the rate that is good for any.
func (b *Book) addLimit(g *Guardrail, s stats.Scale, t stats.Table) {
	if g.Max <= 0 {
		return
	}
	b.Limit.Add(s, t.Candidate, g.Max, b.Halves.Temper())
	b.Recent.Units = b.Recent.Units*recently + float64(t.Stable.Units)
	b.Recent.Events = b.Recent.Events*recently + float64(t.Stable.Events)
}

// degraded reports whether stable itself lately breaks the rate that is good for
// any.
func (b *Book) degraded(g *Guardrail) bool {
	return g.Max > 0 && b.Recent.Units >= float64(min(g.MinSamples, 50)) && b.Recent.Events > g.Max*b.Recent.Units
}
