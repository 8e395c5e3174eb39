package stats

import (
	"math"
	"slices"
	"time"
)

// Buckets of latencies: bucket i holds what is above Edge(i−1) and at most
// Edge(i); the last holds the rest. Eight to each doubling, from 1 ms to 9 min:
// a threshold is at most 9 % off the quantile it stands for, which costs power
// and not validity.
const (
	perDoubling = 8
	lastEdge    = 19 * perDoubling
	// NumBuckets is the number of buckets of a Histogram.
	NumBuckets = lastEdge + 2
)

// Edge is the upper bound of bucket i, for 0 ≤ i < NumBuckets−1.
func Edge(i int) time.Duration { return edges[i] }

var edges = func() (out [NumBuckets - 1]time.Duration) {
	for i := range out {
		out[i] = time.Duration(math.Round(float64(time.Millisecond) * math.Exp2(float64(i)/perDoubling)))
	}
	return out
}()

// Bucket is the bucket of a latency.
func Bucket(d time.Duration) int {
	i, _ := slices.BinarySearch(edges[:], d)
	return i
}

// BucketOf is the bucket of a number without unit, such as a count of tokens: 1
// stands where a millisecond does.
func BucketOf(n int64) int {
	return Bucket(time.Duration(min(max(n, 0), math.MaxInt32)) * time.Millisecond)
}

// Shift is by how many buckets a threshold moves to stand for a latency that is
// factor times as long; 0 for a factor below 1.
func Shift(factor float64) int {
	if !(factor > 1) {
		return 0
	}
	// A little less than a whole bucket more counts as one.
	return int(min(math.Ceil(perDoubling*math.Log2(factor)-0.15), NumBuckets))
}

// Histogram counts units by bucket. Only buckets with units are kept.
type Histogram map[int]int64

// Add counts one unit.
func (h Histogram) Add(bucket int) { h[min(max(bucket, 0), NumBuckets-1)]++ }

// Above tallies the units above Edge(edge) as events.
func (h Histogram) Above(edge int) Tally {
	var t Tally
	for bucket, n := range h {
		t.Units += n
		if bucket > edge {
			t.Events += n
		}
	}
	return t
}

// Check reports whether the histogram can be: known buckets, no negative count,
// at most MaxUnits in all.
func (h Histogram) Check() bool {
	sum := int64(0)
	for bucket, n := range h {
		if bucket < 0 || bucket >= NumBuckets || n < 0 || n > MaxUnits {
			return false
		}
		sum += n
	}
	return sum <= MaxUnits
}

// Trail is a histogram of the past in which older windows weigh less. Thresholds
// are taken from stable's trail, before the window they are used on, so that what
// is tested cannot move them.
type Trail struct {
	Weight map[int]float64
}

// trailHalf is the number of units after which a unit weighs half: enough that
// p95 rests on dozens of units, few enough that a threshold follows the day.
const trailHalf = 2000

// minTrail is the weight below which a trail gives no quantile.
const minTrail = 40

// Add lets older units fade and adds the window's.
func (t *Trail) Add(h Histogram) {
	n := int64(0)
	for _, c := range h {
		n += c
	}
	if n == 0 {
		return
	}
	if t.Weight == nil {
		t.Weight = map[int]float64{}
	}
	fade := math.Exp2(-float64(n) / trailHalf)
	for bucket, w := range t.Weight {
		if w *= fade; w < 1e-3 {
			delete(t.Weight, bucket)
		} else {
			t.Weight[bucket] = w
		}
	}
	for bucket, c := range h {
		t.Weight[bucket] += float64(c)
	}
}

// Quantile returns the bucket whose edge at most a part 1−q of the trail is
// above. ok is false while the trail is too thin, and where the quantile falls
// into the last bucket, which has no edge.
func (t Trail) Quantile(q float64) (edge int, ok bool) {
	sum := 0.0
	for b := range NumBuckets { // in order, so that equal trails give equal sums
		sum += t.Weight[b]
	}
	if sum < minTrail {
		return 0, false
	}
	seen := 0.0
	for b := range NumBuckets - 1 {
		if seen += t.Weight[b]; seen >= q*sum*(1-1e-9) {
			return b, true
		}
	}
	return 0, false
}

// Estimate returns the latency that at most a part 1−q of the trail is above, for
// people: within its bucket it interpolates, which a threshold must not. ok is
// false where Quantile's is.
func (t Trail) Estimate(q float64) (d time.Duration, ok bool) {
	bucket, ok := t.Quantile(q)
	switch {
	case !ok:
		return 0, false
	case bucket == 0:
		return Edge(0), true
	}
	below, sum := 0.0, 0.0
	for b := range NumBuckets {
		if b < bucket {
			below += t.Weight[b]
		}
		sum += t.Weight[b]
	}
	part := 1.0
	if w := t.Weight[bucket]; w > 0 {
		part = min(max((q*sum-below)/w, 0), 1)
	}
	low, high := float64(Edge(bucket-1)), float64(Edge(bucket))
	return time.Duration(low * math.Pow(high/low, part)), true
}

// Clone returns a copy that shares nothing with t.
func (t Trail) Clone() Trail {
	out := Trail{}
	if t.Weight != nil {
		out.Weight = make(map[int]float64, len(t.Weight))
		for b, w := range t.Weight {
			out.Weight[b] = w
		}
	}
	return out
}
