package scheduling

import (
	"math"
	"math/rand/v2"
	"testing"
)

// Engines that are slower or faster than the priors are found out from noisy
// samples, and what was learned is forgotten when they change.
func TestCalibration(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	c := newCalibration()
	for _, truth := range []factors{{2, 0.5, 1}, {0.5, 2, 2}, {1, 1, 1}} {
		for range 3000 {
			x := parts(float64(1+r.IntN(500)), float64(r.IntN(100)), float64(r.IntN(200_000)), float64(r.IntN(50_000)), 0)
			seconds := 0.0
			for i := range x {
				seconds += truth[i] * x[i]
			}
			c.learn(seconds*math.Exp(0.1*r.NormFloat64()), x)
		}
		for i := range truth {
			if ratio := c.factors[i] / truth[i]; ratio < 0.85 || ratio > 1.15 {
				t.Errorf("factors %.2f, want about %.2f", c.factors, truth)
				break
			}
		}
	}
}

// Whatever is reported, the factors stay within their clamps.
func TestCalibrationClamps(t *testing.T) {
	c := newCalibration()
	for _, seconds := range []float64{1e9, 1e-9, 0, -1, math.NaN(), math.Inf(1)} {
		for range 200 {
			c.learn(seconds, [3]float64{0.1, 0.2, 0.3})
			c.learn(seconds, [3]float64{})
			for _, f := range c.factors {
				if !(f >= leastFactor && f <= mostFactor) {
					t.Fatalf("factors %v after %v", c.factors, seconds)
				}
			}
		}
	}
}

// With no samples of one part, its factor stays where it was and its doubt does
// not grow beyond the prior's.
func TestCalibrationWithoutNews(t *testing.T) {
	c := newCalibration()
	for range 5000 {
		c.learn(1, [3]float64{0.5, 0, 0})
	}
	if c.factors[factorPrefill] != 1 || c.factors[factorContext] != 1 {
		t.Errorf("factors %v of what was never seen", c.factors)
	}
	if c.p[1][1] > doubt {
		t.Errorf("doubt grew to %v", c.p[1][1])
	}
}
