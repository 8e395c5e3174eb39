package stats

import "math"

// Late is the evidence of harm that begins somewhere in the middle. A likelihood
// from the beginning has inertia: hours of health would have to be outweighed
// before a sudden failure shows. Late is a mixture over beginnings: with each
// stretch of units a part of the prior is laid on "from here on", so that
//
//	S ← likelihood ratio of the window · (S + prior laid on before the window)
//
// for each alternative. The parts sum to less than 1 and depend on the number of
// units alone, so S and what is left of the prior are together an e-process: a
// Shiryaev-Roberts statistic whose false alarms are bounded for ever and not per
// time (compare Shin, Ramdas and Rinaldo: E-detectors, arXiv 2203.03532).
type Late struct {
	Units int64 `json:"n,omitempty"`
	// Spent is the part of the prior that is laid.
	Spent float64 `json:"spent,omitempty"`
	// Above and Below are S of each alternative, by direction of harm.
	Above []float64 `json:"above,omitempty"`
	Below []float64 `json:"below,omitempty"`
}

// stretch is the number of units over which half of the prior is laid, and then
// half of the rest over as many again and so on, ever more slowly: beginnings after
// n units share a prior of about stretch/n.
const stretch = 64

// most bounds a statistic and its inverse, far beyond what any verdict asks for.
const most = 1e300

func laid(units int64) float64 { return 1 - 1/(1+float64(units)/stretch) }

// add adds one window's terms, of so many of the candidate's units.
func (x *Late) add(s Scale, q Question, terms []float64, units int64) {
	fresh := laid(x.Units) - x.Spent
	x.Spent += fresh
	x.Units += units
	margin := clampMargin(q.HarmMargin)
	if q.Direction != LowerIsWorse {
		x.Above = s.step(x.Above, terms, margin, fresh, func(psi float64) float64 { return psi })
	}
	if q.Direction != HigherIsWorse {
		x.Below = s.step(x.Below, terms, margin, fresh, func(psi float64) float64 { return 1 / psi })
	}
}

// step moves the statistics of one direction by one window.
func (s Scale) step(sums []float64, terms []float64, margin, fresh float64, at func(float64) float64) []float64 {
	out := make([]float64, 0, len(harmful))
	null := terms[s.index(at(margin))]
	for _, psi := range harmful {
		if psi <= margin {
			continue
		}
		sum := fresh
		if k := len(out); k < len(sums) {
			sum += sums[k]
		}
		ratio := math.Exp(min(terms[s.index(at(psi))]-null, 690))
		out = append(out, min(ratio*sum, most))
	}
	return out
}

// log is the log of the e-value of harm in the question's direction.
func (x Late) log(q Question) float64 {
	mean := func(sums []float64) float64 {
		sum := 0.0
		for _, v := range sums {
			sum += v / float64(len(sums))
		}
		return sum
	}
	var e float64
	switch q.Direction {
	case LowerIsWorse:
		e = mean(x.Below)
	case EitherIsWorse:
		e = mean(x.Above)/2 + mean(x.Below)/2
	default:
		e = mean(x.Above)
	}
	return math.Log(e + 1 - x.Spent)
}

// fits reports whether a stored value can be.
func (x Late) fits() bool {
	for _, sums := range [][]float64{x.Above, x.Below} {
		if len(sums) > len(harmful) {
			return false
		}
		for _, v := range sums {
			if !(v >= 0 && v <= most) {
				return false
			}
		}
	}
	return x.Units >= 0 && x.Spent >= 0 && x.Spent <= 1
}

func (x Late) clone() Late {
	x.Above = append([]float64(nil), x.Above...)
	x.Below = append([]float64(nil), x.Below...)
	return x
}

// Limit is the evidence that one arm's rate of events is above a fixed one, from
// the beginning or later.
type Limit struct {
	Tally      Tally      `json:"tally"`
	Likelihood Likelihood `json:"l"`
	Late       Late       `json:"late"`
}

// over is the question of a Limit: more than the rate, by however much.
var over = Question{HarmMargin: 1, PassMargin: 1}

// Add adds one window, compared with the rate in (0, 1).
func (x *Limit) Add(s Scale, t Tally, rate, temper float64) {
	if len(x.Likelihood) == 0 {
		x.Likelihood = s.NewLikelihood()
	}
	x.Tally = x.Tally.Add(t)
	terms := s.rate(t, rate, temper)
	x.Likelihood.add(terms)
	x.Late.add(s, over, terms, t.Units)
}

// Harm is the log of the e-value against "the rate is not exceeded".
func (x Limit) Harm(s Scale) float64 {
	if len(x.Likelihood) == 0 {
		return 0
	}
	return LogSum(math.Log(1-partLate)+s.LogAbove(x.Likelihood, 1), math.Log(partLate)+x.Late.log(over))
}

// Fits reports whether a stored value is of the scale.
func (x Limit) Fits(s Scale) bool {
	return (len(x.Likelihood) == 0 || s.Fits(x.Likelihood)) && x.Late.fits()
}

// Clone returns a copy that shares nothing with x.
func (x Limit) Clone() Limit {
	x.Likelihood = append(Likelihood(nil), x.Likelihood...)
	x.Late = x.Late.clone()
	return x
}
