package stats

import (
	"fmt"
	"math"
)

// Direction says which change of an event's odds is harm.
type Direction int

// The directions of harm.
const (
	HigherIsWorse Direction = iota
	LowerIsWorse
	EitherIsWorse
)

// Question is what is asked of a signal.
type Question struct {
	// HarmMargin is the odds ratio that is tolerated, at least 1 (any harm).
	HarmMargin float64
	// PassMargin is the odds ratio that a conclusive pass rules out, above 1.
	PassMargin float64
	Direction  Direction
	// Negligible is a rate of events below which the candidate passes whatever
	// stable's is; 0 is none. Without it, what never happens could not pass.
	Negligible float64
}

// Margins returns the odds ratios that a scale for the question must have.
func (q Question) Margins() []float64 { return []float64{q.HarmMargin, q.PassMargin} }

// Budget is how much error a verdict may have.
type Budget struct {
	// Alpha bounds the chance that a harmless candidate ever fails.
	Alpha float64
	// Beta bounds the chance that a candidate worse than the pass margin passes.
	Beta float64
	// MinSamples is how many units each arm must have before anything but harm
	// is said.
	MinSamples int64
}

// Measurement is what is known of one signal now.
type Measurement struct {
	// Harm and Pass are natural logarithms of e-values: against "no harm" and
	// against "worse than the pass margin".
	Harm, Pass float64
	// Effect is the odds ratio all strata share, at 95 % confidence.
	Effect Interval
	// Table is the sum over strata.
	Table Table
	// Stratum is the one in which most evidence of harm was found.
	Stratum string
	// Strata is how many there are, Informative how many with units in both arms.
	Strata, Informative int
}

// screen is the error of intervals for people.
const screen = 0.05

// Measure answers the question.
func (e Evidence) Measure(s Scale, q Question) Measurement {
	pooled := e.Pooled(s)
	m := Measurement{Effect: s.Interval(pooled, screen), Table: e.Total(), Strata: len(e.Strata)}
	harm, pass := q.tests(s)
	m.Harm, m.Stratum = e.combine(s, harm, e.Late.log(q)), e.worst(harm)
	m.Pass = pass(pooled)
	if q.Negligible > 0 {
		m.Pass = LogSum(m.Pass, m.Table.Candidate.logBelow(q.Negligible)) - math.Ln2
	}
	for i := range e.Strata {
		if t := e.Strata[i].Table; t.Candidate.Units > 0 && t.Stable.Units > 0 {
			m.Informative++
		}
	}
	return m
}

// logBelow is the log of the e-value against "the rate of events is at least rate",
// looked for at a half and a tenth of its odds.
func (t Tally) logBelow(rate float64) float64 {
	odds := rate / (1 - rate)
	at := func(psi float64) float64 {
		return float64(t.Events)*math.Log(psi) + float64(t.Units)*(math.Log1p(odds)-math.Log1p(psi*odds))
	}
	return LogSum(at(0.5), at(0.1)) - math.Ln2
}

// tests returns the logs of the e-values that speak for harm and for a pass.
func (q Question) tests(s Scale) (harm, pass func(Likelihood) float64) {
	h, p := clampMargin(q.HarmMargin), clampMargin(q.PassMargin)
	above := func(l Likelihood) float64 { return s.LogAbove(l, h) }
	below := func(l Likelihood) float64 { return s.LogBelow(l, h) }
	within := func(l Likelihood) float64 { return s.LogWithin(l, p) }
	withinBelow := func(l Likelihood) float64 { return s.LogWithinBelow(l, p) }
	switch q.Direction {
	case LowerIsWorse:
		return below, withinBelow
	case EitherIsWorse:
		// The mean of two e-values is one; a pass must rule out both sides.
		return func(l Likelihood) float64 { return LogSum(above(l), below(l)) - math.Ln2 },
			func(l Likelihood) float64 { return min(within(l), withinBelow(l)) }
	}
	return above, within
}

// Combine joins the measurements of one metric's signals (the quantiles of a
// latency): harm is the mean of the e-values, which is one; a pass must hold for
// each. The effect shown is that of the signal with most evidence of harm.
func Combine(signals []Measurement) Measurement {
	if len(signals) == 0 {
		return Measurement{Effect: Interval{Best: 1, High: math.Inf(1)}}
	}
	harms := make([]float64, len(signals))
	worst, pass := 0, math.Inf(1)
	for i, m := range signals {
		harms[i] = m.Harm
		pass = min(pass, m.Pass)
		if m.Harm > signals[worst].Harm {
			worst = i
		}
	}
	out := signals[worst]
	out.Harm, out.Pass = LogSum(harms...)-math.Log(float64(len(harms))), pass
	return out
}

// Verdict is what a budget makes of a measurement.
type Verdict string

// The verdicts. Insufficient is not Inconclusive: the first says that too little
// was seen to speak of, the second that what was seen shows neither harm nor its
// absence.
const (
	Insufficient Verdict = "Insufficient"
	Inconclusive Verdict = "Inconclusive"
	Pass         Verdict = "Pass"
	Fail         Verdict = "Fail"
)

// Judge returns the verdict. Harm needs no minimum of samples: the test is valid
// from the first one, and a candidate that always fails should not be given more.
func (m Measurement) Judge(b Budget) Verdict {
	switch {
	case m.Harm >= -math.Log(b.Alpha):
		return Fail
	case m.Table.Candidate.Units < b.MinSamples || m.Table.Stable.Units < b.MinSamples:
		return Insufficient
	case m.Pass >= -math.Log(b.Beta):
		return Pass
	}
	return Inconclusive
}

// P is the always-valid p-value of harm: min(1, 1/e).
func (m Measurement) P() float64 { return min(1, math.Exp(-m.Harm)) }

// String prints the effect as "OR 1.12 [0.90, 1.40]".
func (i Interval) String() string {
	return fmt.Sprintf("OR %s [%s, %s]", short(i.Best), short(i.Low), short(i.High))
}

func short(v float64) string {
	switch {
	case math.IsInf(v, 1):
		return "∞"
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
