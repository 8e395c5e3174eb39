package main

import (
	"math"
	"slices"
)

// result is what one run measured, in seconds.
type result struct {
	TTFTMean, TTFT50, TTFT90, TTFT99 float64
	E2EMean                          float64
	TPOT90                           float64
	Hit                              float64 // part of prompt tokens
	Preemptions, Loads               float64
	Spread                           float64 // busy time, most over mean
}

// warmUp is the part of the requests that is not counted.
const warmUp = 0.15

func measure(w *world, requests []*request) result {
	var ttft, e2e, tpot []float64
	skip := int(warmUp * float64(len(requests)))
	for _, r := range requests[skip:] {
		ttft = append(ttft, r.firstAt-r.at)
		e2e = append(e2e, r.doneAt-r.at)
		if r.output > 1 {
			tpot = append(tpot, (r.doneAt-r.firstAt)/float64(r.output-1))
		}
	}
	slices.Sort(ttft)
	slices.Sort(tpot)
	out := result{
		TTFTMean: mean(ttft), TTFT50: quantile(ttft, 0.5), TTFT90: quantile(ttft, 0.9), TTFT99: quantile(ttft, 0.99),
		E2EMean: mean(e2e), TPOT90: quantile(tpot, 0.9),
	}
	hits, looked, most, sum := 0, 0, 0.0, 0.0
	for _, e := range w.engines {
		hits, looked = hits+e.cache.hits, looked+e.cache.looked
		out.Preemptions += float64(e.preemptions)
		out.Loads += float64(e.loads)
		most, sum = max(most, e.seconds), sum+e.seconds
	}
	out.Hit = float64(hits) / float64(max(1, looked))
	out.Spread = most / (sum / float64(len(w.engines)))
	return out
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x
	}
	return sum / float64(max(1, len(v)))
}

// quantile of sorted values.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return 0
	}
	return v[min(len(v)-1, int(q*float64(len(v))))]
}

// interval is the mean of runs and half the width of its 95 % confidence
// interval (Student's t).
func interval(v []float64) (m, half float64) {
	m = mean(v)
	if len(v) < 2 {
		return m, 0
	}
	sum := 0.0
	for _, x := range v {
		sum += (x - m) * (x - m)
	}
	t := [...]float64{12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23,
		2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09, 2.09}
	n := len(v)
	return m, t[min(n-2, len(t)-1)] * math.Sqrt(sum/float64(n-1)/float64(n))
}
