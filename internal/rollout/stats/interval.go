package stats

import "math"

// Interval is what is known of an odds ratio, for people: verdicts do not rest
// on it. Low … High covers the true one with the given confidence at every
// instant, looked at as often as one likes; it is 0 … +Inf while nothing is known.
type Interval struct {
	Low, Best, High float64
}

// Interval returns the likeliest odds ratio and the confidence sequence at
// 1 − alpha. Between the points of the scale it interpolates, in logarithms.
func (s Scale) Interval(l Likelihood, alpha float64) Interval {
	out := Interval{Low: 0, Best: s.best(l), High: math.Inf(1)}
	// An odds ratio is ruled out when the likelihood averaged over the scale is
	// 1/alpha times the likelihood at it.
	floor := LogSum(l...) - math.Log(float64(len(l))) + math.Log(alpha)
	peak := 0
	for i := range l {
		if l[i] > l[peak] {
			peak = i
		}
	}
	for i := peak; i > 0; i-- {
		if l[i-1] < floor {
			out.Low = s.between(l, i-1, floor)
			break
		}
	}
	for i := peak; i+1 < len(l); i++ {
		if l[i+1] < floor {
			out.High = s.between(l, i, floor)
			break
		}
	}
	return out
}

// between is the odds ratio between points i and i+1 at which the likelihood,
// taken as linear there, is v.
func (s Scale) between(l Likelihood, i int, v float64) float64 {
	part := (v - l[i]) / (l[i+1] - l[i])
	return math.Exp(math.Log(s[i]) + min(max(part, 0), 1)*(math.Log(s[i+1])-math.Log(s[i])))
}

// best is the top of the parabola through the likeliest point and its neighbours;
// 1 while nothing is known.
func (s Scale) best(l Likelihood) float64 {
	peak := s.index(1)
	for i := range l {
		if l[i] > l[peak] {
			peak = i
		}
	}
	if peak == 0 || peak == len(l)-1 {
		return s[peak]
	}
	x0, x1, x2 := math.Log(s[peak-1]), math.Log(s[peak]), math.Log(s[peak+1])
	a := (l[peak] - l[peak-1]) / (x1 - x0)
	b := (l[peak+1] - l[peak]) / (x2 - x1)
	if a == b {
		return s[peak]
	}
	// The slope falls from a at the middle of the left side to b at that of the
	// right one; the top is where it is zero.
	left, right := (x0+x1)/2, (x1+x2)/2
	return math.Exp(min(max(left+(right-left)*a/(a-b), x0), x2))
}
