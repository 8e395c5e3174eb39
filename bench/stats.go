//go:build linux

package main

import (
	"cmp"
	"math"
	"slices"
)

// A spread is one figure measured several times.
type spread struct{ median, low, high float64 }

// spreadOf summarises values; the median of an even number is the mean of the two
// in the middle. No values give a zero spread.
func spreadOf(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	s := spread{median: v[mid], low: v[0], high: v[len(v)-1]}
	if len(v)%2 == 0 {
		s.median = (v[mid-1] + v[mid]) / 2
	}
	return s
}

// percentile returns the smallest value that at least a share q, 0 to 1, of values
// does not exceed. It sorts values in place and returns 0 for none.
func percentile[T cmp.Ordered](values []T, q float64) T {
	if len(values) == 0 {
		var zero T
		return zero
	}
	slices.Sort(values)
	rank := int(math.Ceil(q*float64(len(values)))) - 1
	return values[min(max(rank, 0), len(values)-1)]
}
