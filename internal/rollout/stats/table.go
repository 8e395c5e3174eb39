package stats

import (
	"fmt"
	"math"
)

// MaxUnits is the largest number of units one arm of a Table may have; beyond it
// a counter is broken rather than busy.
const MaxUnits = 1_000_000_000

// Tally counts the units of one arm and those of them that had the event.
type Tally struct {
	Units  int64 `json:"n"`
	Events int64 `json:"f"`
}

// Add returns the sum of both.
func (t Tally) Add(u Tally) Tally { return Tally{t.Units + u.Units, t.Events + u.Events} }

// Rate is the share of units with the event, 0 without units.
func (t Tally) Rate() float64 {
	if t.Units == 0 {
		return 0
	}
	return float64(t.Events) / float64(t.Units)
}

// valid reports whether the tally can be: 0 ≤ events ≤ units ≤ MaxUnits.
func (t Tally) valid() bool { return 0 <= t.Events && t.Events <= t.Units && t.Units <= MaxUnits }

// Table is one window of one stratum: the units of both arms.
type Table struct {
	Candidate Tally `json:"candidate"`
	Stable    Tally `json:"stable"`
}

// Check returns an error for a table that no counting can give.
func (t Table) Check() error {
	for _, arm := range []struct {
		name  string
		tally Tally
	}{{"candidate", t.Candidate}, {"stable", t.Stable}} {
		if !arm.tally.valid() {
			return fmt.Errorf("%s has %d events among %d units: want 0 ≤ events ≤ units ≤ %d", arm.name, arm.tally.Events, arm.tally.Units, int64(MaxUnits))
		}
	}
	return nil
}

// logLikelihoods puts into out the log-probability, at each odds ratio of psis,
// that the candidate has as many of the table's events as it has, given how many
// there are and how many units each arm has. A table in which nothing could have
// come out otherwise (no event, only events, an empty arm) gives zeros. The table
// has passed Check.
func (t Table) logLikelihoods(psis, out []float64) {
	clear(out)
	h := newHypergeometric(t)
	if h.low == h.high {
		return
	}
	x := float64(t.Candidate.Events)
	base := h.logWays(x)
	for i, psi := range psis {
		mode := h.mode(psi)
		out[i] = base - h.logWays(mode) + (x-mode)*math.Log(psi) - math.Log(h.mass(psi, mode))
	}
}

// hypergeometric is Fisher's noncentral hypergeometric distribution: of f events
// among the units of two arms, how many are the candidate's. Its support is
// low … high. Numbers are floats for the arithmetic's sake; all are whole.
type hypergeometric struct {
	candidate, stable, events float64
	low, high                 float64
}

func newHypergeometric(t Table) hypergeometric {
	h := hypergeometric{
		candidate: float64(t.Candidate.Units),
		stable:    float64(t.Stable.Units),
		events:    float64(t.Candidate.Events + t.Stable.Events),
	}
	h.low, h.high = max(0, h.events-h.stable), min(h.candidate, h.events)
	return h
}

// ratio is P(x+1)/P(x) at odds ratio psi; it falls as x grows.
func (h hypergeometric) ratio(x, psi float64) float64 {
	return (h.candidate - x) * (h.events - x) * psi / ((x + 1) * (h.stable - h.events + x + 1))
}

// mode is the likeliest x.
func (h hypergeometric) mode(psi float64) float64 {
	low, high := h.low, h.high
	for low < high {
		middle := math.Floor((low + high) / 2)
		if h.ratio(middle, psi) >= 1 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

// negligible is the part of the peak at which a tail is cut: the terms fall
// faster than geometrically there, so what is cut is below a float's precision.
const negligible = 1e-18

// mass is the sum of all probabilities, as multiples of the mode's.
func (h hypergeometric) mass(psi, mode float64) float64 {
	sum := 1.0
	for x, term := mode, 1.0; x < h.high && term > negligible; x++ {
		term *= h.ratio(x, psi)
		sum += term
	}
	for x, term := mode, 1.0; x > h.low && term > negligible; x-- {
		term /= h.ratio(x-1, psi)
		sum += term
	}
	return sum
}

// logWays is ln C(candidate, x)·C(stable, events−x).
func (h hypergeometric) logWays(x float64) float64 {
	return logChoose(h.candidate, x) + logChoose(h.stable, h.events-x)
}

func logChoose(n, k float64) float64 {
	return logFactorial(n) - logFactorial(k) - logFactorial(n-k)
}

func logFactorial(n float64) float64 {
	v, _ := math.Lgamma(n + 1)
	return v
}
