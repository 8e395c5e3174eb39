package scheduling

// factors are what an engine costs, as multiples of the priors.
type factors [3]float64

// What the factors multiply.
const (
	factorStep = iota
	factorPrefill
	factorContext
)

const (
	// A factor is kept within these: whatever a pool reports, its endpoints
	// stay comparable.
	leastFactor, mostFactor = 0.3, 3
	// doubt is how far the priors are trusted: the variance of a factor at the
	// start, and the most it can grow to when nothing is learned of it.
	doubt = 0.25
	// drift is what a factor's variance gains by each sample, so that old
	// samples are forgotten.
	drift = 1e-4
	// noise is the variance of a sample's relative error.
	noise = 0.25
	// outlier bounds what one sample can say: a client that reads slowly or a
	// machine that pauses is no engine.
	outlier = 1
)

// calibration learns an engine's factors from how long things took: recursive
// least squares (a Kalman filter whose state is the factors) over samples
//
//	seconds = step·x₀ + prefill·x₁ + context·x₂
//
// in which each x is what the prior says the part should have taken. Each
// sample counts by its relative error, so that long answers do not outvote
// short ones.
type calibration struct {
	factors factors
	p       [3][3]float64 // covariance
	samples int
}

func newCalibration() calibration {
	c := calibration{factors: factors{1, 1, 1}}
	for i := range c.p {
		c.p[i][i] = doubt
	}
	return c
}

// learn takes over one sample.
func (c *calibration) learn(seconds float64, x [3]float64) {
	expected := 0.0
	for i := range x {
		expected += c.factors[i] * x[i]
	}
	if !(expected > 0) || !(seconds > 0) {
		return
	}
	for i := range x {
		x[i] /= expected
	}
	c.samples++
	c.update(x, max(-outlier, min(outlier, seconds/expected-1)))
}

// update moves the factors by a relative error at x.
func (c *calibration) update(x [3]float64, miss float64) {
	var px [3]float64
	s := noise
	for i := range px {
		c.p[i][i] = min(doubt, c.p[i][i]+drift)
		for j := range x {
			px[i] += c.p[i][j] * x[j]
		}
	}
	for i := range x {
		s += x[i] * px[i]
	}
	for i := range px {
		c.factors[i] = max(leastFactor, min(mostFactor, c.factors[i]+px[i]/s*miss))
		for j := range px {
			c.p[i][j] -= px[i] * px[j] / s
		}
	}
}
