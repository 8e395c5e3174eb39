package stats

import (
	"math"
	"math/rand/v2"
	"testing"
)

// binomial draws how many of n units have an event of probability p, by skipping
// from one to the next.
func binomial(r *rand.Rand, n int, p float64) int64 {
	if p <= 0 {
		return 0
	}
	if p > 0.5 {
		return int64(n) - binomial(r, n, 1-p)
	}
	count, at := int64(0), -1
	for log := math.Log1p(-p); ; count++ {
		if at += 1 + int(math.Log(1-r.Float64())/log); at >= n {
			return count
		}
	}
}

// reaches runs windows until the harm e-value reaches 1/alpha, and returns the
// number of windows, or 0 if it never does.
func reaches(r *rand.Rand, windows, candidate, stable int, rates func(window int) (c, s float64)) int {
	s := NewScale(1.25, 2)
	l := s.NewLikelihood()
	for w := range windows {
		pc, ps := rates(w)
		s.AddTable(l, Table{Tally{int64(candidate), binomial(r, candidate, pc)}, Tally{int64(stable), binomial(r, stable, ps)}}, 1)
		if s.LogAbove(l, 1.25) >= math.Log(100) {
			return w + 1
		}
	}
	return 0
}

// TestFalseAlarms: at α = 1 %, of 400 candidates just at the tolerated margin, the
// worst the null allows, no more than 1 % and chance may ever be stopped, looked
// at after every window, while base rate and share move.
func TestFalseAlarms(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 1))
	const runs = 400
	alarms := 0
	for range runs {
		phase := r.Float64() * 2 * math.Pi
		if reaches(r, 300, 20, 180, func(w int) (float64, float64) {
			base := 0.02 * math.Exp(math.Sin(float64(w)/40+phase))
			odds := 1.25 * base / (1 - base)
			return odds / (1 + odds), base
		}) > 0 {
			alarms++
		}
	}
	// 4 are expected at most; 12 have a chance below 0.1 %.
	if alarms > 11 {
		t.Errorf("%d of %d at the margin were stopped, want at most 1 %%", alarms, runs)
	}
}

// TestDetection: the regressions of the design's table are found, the median in
// the time it promises: 20 requests a second, 5 % of them to the candidate, errors
// from 0.5 %, windows of ten seconds.
func TestDetection(t *testing.T) {
	r := rand.New(rand.NewPCG(12, 1))
	for _, c := range []struct {
		rate    float64
		windows int // of the median
	}{{1, 1}, {0.2, 3}, {0.05, 14}} {
		const runs = 101
		late := 0
		for range runs {
			if w := reaches(r, 400, 10, 190, func(int) (float64, float64) { return c.rate, 0.005 }); w == 0 || w > c.windows {
				late++
			}
		}
		if late > runs/2 {
			t.Errorf("errors at %v: %d of %d took more than %d windows", c.rate, late, runs, c.windows)
		}
	}
}
