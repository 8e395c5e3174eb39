package stats

import (
	"math"
	"slices"
)

// harmful are the odds ratios harm is looked for at, one prior weight each: from
// a half more to total failure of what hardly ever fails.
var harmful = [...]float64{1.5, 2, 3, 5, 10, 30, 100}

// harmless are the odds ratios a pass is looked for at: the same, or better.
var harmless = [...]float64{0.7, 1}

// MinMargin and MaxMargin bound margins of harm and pass, as odds ratios.
const (
	MinMargin = 1.0
	MaxMargin = 20.0
)

// Scale is the list of odds ratios, ascending, at which likelihoods are kept.
type Scale []float64

// NewScale returns the scale with the alternatives of every test, their inverses
// for tests of the other direction, and the given margins with theirs. Margins
// outside MinMargin … MaxMargin are a caller's error and are clamped.
func NewScale(margins ...float64) Scale {
	var s Scale
	add := func(psi float64) { s = append(s, psi, 1/psi) }
	for _, psi := range harmful {
		add(psi)
	}
	for _, psi := range harmless {
		add(psi)
	}
	for _, m := range margins {
		add(clampMargin(m))
	}
	slices.Sort(s)
	return slices.Compact(s)
}

func clampMargin(m float64) float64 {
	if !(m >= MinMargin) { // catches NaN
		return MinMargin
	}
	return min(m, MaxMargin)
}

// Likelihood is what is known of an odds ratio: the log-likelihood of all that
// was seen, at each point of a Scale, relative to that at 1. Adding two is
// pooling their evidence.
type Likelihood []float64

// NewLikelihood knows nothing.
func (s Scale) NewLikelihood() Likelihood { return make(Likelihood, len(s)) }

// Fits reports whether l is of this scale and finite, as a stored one may not be.
func (s Scale) Fits(l Likelihood) bool {
	if len(l) != len(s) {
		return false
	}
	return !slices.ContainsFunc(l, func(v float64) bool { return math.IsNaN(v) || math.IsInf(v, 0) })
}

// AddTable adds one window's table to l, tempered by the exponent temper in
// (0, 1]. The table has passed Check.
func (s Scale) AddTable(l Likelihood, t Table, temper float64) {
	l.add(s.table(t, temper))
}

// table returns what one window's table adds to a likelihood.
func (s Scale) table(t Table, temper float64) []float64 {
	terms := make([]float64, len(s))
	t.logLikelihoods(s, terms)
	return s.relative(terms, temper)
}

// AddPairs adds pairs of answers to one prompt of which one was worse: worse
// times the candidate's, better times stable's. Equal pairs say nothing. The odds
// ratio is that of the candidate's being the worse one (McNemar's test, seen
// sequentially).
func (s Scale) AddPairs(l Likelihood, worse, better int64, temper float64) {
	terms := make([]float64, len(s))
	for i, psi := range s {
		terms[i] = float64(worse)*math.Log(psi) - float64(worse+better)*math.Log1p(psi)
	}
	l.add(s.relative(terms, temper))
}

// AddRate adds the units of one arm, compared with a fixed rate in (0, 1): the
// odds ratio is that of the arm's rate to the fixed one.
func (s Scale) AddRate(l Likelihood, t Tally, rate, temper float64) {
	l.add(s.rate(t, rate, temper))
}

// rate returns what one window's tally adds to a likelihood of AddRate.
func (s Scale) rate(t Tally, rate, temper float64) []float64 {
	odds := rate / (1 - rate)
	terms := make([]float64, len(s))
	for i, psi := range s {
		terms[i] = float64(t.Events)*math.Log(psi*odds) - float64(t.Units)*math.Log1p(psi*odds)
	}
	return s.relative(terms, temper)
}

// relative makes terms relative to that at odds ratio 1, and tempers them.
func (s Scale) relative(terms []float64, temper float64) []float64 {
	if !(temper > 0) || temper > 1 {
		temper = 1
	}
	one := terms[s.index(1)]
	for i := range terms {
		terms[i] = temper * (terms[i] - one)
	}
	return terms
}

func (l Likelihood) add(terms []float64) {
	for i := range l {
		l[i] += terms[i]
	}
}

// index is where psi, which is a point of the scale, stands.
func (s Scale) index(psi float64) int {
	i, _ := slices.BinarySearch(s, psi)
	return min(i, len(s)-1)
}

// LogAbove is the log of the e-value against "the odds ratio is at most margin".
// margin is one of the scale's.
func (s Scale) LogAbove(l Likelihood, margin float64) float64 {
	return s.logMean(l, margin, func(yield func(float64)) {
		for _, psi := range harmful {
			if psi > margin {
				yield(psi)
			}
		}
	})
}

// LogBelow is the log of the e-value against "the odds ratio is at least
// 1/margin": LogAbove with the directions exchanged.
func (s Scale) LogBelow(l Likelihood, margin float64) float64 {
	return s.logMean(l, 1/margin, func(yield func(float64)) {
		for _, psi := range harmful {
			if psi > margin {
				yield(1 / psi)
			}
		}
	})
}

// LogWithin is the log of the e-value against "the odds ratio is at least
// margin", looked for at no harm: what a conclusive pass rests on.
func (s Scale) LogWithin(l Likelihood, margin float64) float64 {
	return s.logMean(l, margin, func(yield func(float64)) {
		for _, psi := range harmless {
			yield(psi)
		}
	})
}

// LogWithinBelow is LogWithin with the directions exchanged: it speaks against
// "the odds ratio is at most 1/margin".
func (s Scale) LogWithinBelow(l Likelihood, margin float64) float64 {
	return s.logMean(l, 1/margin, func(yield func(float64)) {
		for _, psi := range harmless {
			yield(1 / psi)
		}
	})
}

// logMean is the log of the likelihood averaged over the alternatives, divided by
// that at null.
func (s Scale) logMean(l Likelihood, null float64, alternatives func(yield func(float64))) float64 {
	var logs []float64
	base := l[s.index(null)]
	alternatives(func(psi float64) { logs = append(logs, l[s.index(psi)]-base) })
	if len(logs) == 0 {
		return 0
	}
	return LogSum(logs...) - math.Log(float64(len(logs)))
}

// LogSum is ln Σ exp(v), without overflow.
func LogSum(logs ...float64) float64 {
	top := math.Inf(-1)
	for _, v := range logs {
		top = max(top, v)
	}
	if math.IsInf(top, 0) {
		return top
	}
	sum := 0.0
	for _, v := range logs {
		sum += math.Exp(v - top)
	}
	return top + math.Log(sum)
}
