package stats

import (
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	for i := range NumBuckets - 2 {
		if Edge(i) >= Edge(i+1) {
			t.Fatalf("edge %d is not below the next", i)
		}
		if Bucket(Edge(i)) != i || Bucket(Edge(i)+1) != i+1 {
			t.Fatalf("edge %d (%s) is in bucket %d, the next nanosecond in %d", i, Edge(i), Bucket(Edge(i)), Bucket(Edge(i)+1))
		}
	}
	for d, want := range map[time.Duration]int{-1: 0, 0: 0, time.Hour: NumBuckets - 1} {
		if got := Bucket(d); got != want {
			t.Errorf("%s is in bucket %d, want %d", d, got, want)
		}
	}
	if BucketOf(512) != Bucket(512*time.Millisecond) || BucketOf(-5) != 0 || BucketOf(1<<60) != NumBuckets-1 {
		t.Error("BucketOf is wrong")
	}
}

func TestHistogram(t *testing.T) {
	h := Histogram{}
	for _, b := range []int{3, 3, 5, 9, -7, 10_000} {
		h.Add(b)
	}
	if got := h.Above(4); got != (Tally{6, 3}) {
		t.Errorf("above bucket 4: %+v", got)
	}
	if !h.Check() || (Histogram{0: -1}).Check() || (Histogram{NumBuckets: 1}).Check() || (Histogram{0: MaxUnits, 1: 1}).Check() {
		t.Error("Check is wrong")
	}
}

// TestTrail checks that quantiles come only of enough, that they follow stable,
// and that the memory is bounded.
func TestTrail(t *testing.T) {
	var trail Trail
	if _, ok := trail.Quantile(0.5); ok {
		t.Error("a quantile of nothing")
	}
	trail.Add(Histogram{10: 19, 20: 20})
	if _, ok := trail.Quantile(0.5); ok {
		t.Error("a quantile of too little")
	}
	trail.Add(Histogram{10: 30, 20: 20, 30: 10})
	for q, want := range map[float64]int{0.4: 10, 0.8: 20, 0.95: 30} {
		if got, ok := trail.Quantile(q); !ok || got != want {
			t.Errorf("quantile %v is in bucket %d, want %d", q, got, want)
		}
	}
	for range 100 {
		trail.Add(Histogram{40: 500})
	}
	if got, _ := trail.Quantile(0.1); got != 40 || len(trail.Weight) != 1 {
		t.Errorf("stable has moved to 40, but its p10 is at %d and the trail is %v", got, trail.Weight)
	}
	trail.Add(Histogram{NumBuckets - 1: 50_000})
	if _, ok := trail.Quantile(0.9); ok {
		t.Error("a quantile in the bucket without an edge")
	}
	c := trail.Clone()
	c.Add(Histogram{1: 5})
	if trail.Weight[1] != 0 {
		t.Error("the clone shares its weights")
	}
}

// TestEstimate checks that estimates rise with q, stay in the quantile's bucket and
// hit the middle of even weights.
func TestEstimate(t *testing.T) {
	var trail Trail
	if d, ok := trail.Estimate(0.5); ok || d != 0 {
		t.Error("an empty trail has an estimate")
	}
	h := Histogram{}
	for range 100 {
		h.Add(60)
		h.Add(68)
	}
	trail.Add(h)
	last := time.Duration(0)
	for _, q := range []float64{0.01, 0.25, 0.5, 0.75, 0.99} {
		bucket, _ := trail.Quantile(q)
		d, ok := trail.Estimate(q)
		if !ok || d <= last || d <= Edge(bucket-1) || d > Edge(bucket) {
			t.Errorf("p%g is %s after %s, want in bucket %d (%s)", 100*q, d, last, bucket, Edge(bucket))
		}
		last = d
	}
	first := Trail{Weight: map[int]float64{0: 50}}
	if d, ok := first.Estimate(0.9); !ok || d != Edge(0) {
		t.Errorf("of the first bucket: %s %v", d, ok)
	}
}
