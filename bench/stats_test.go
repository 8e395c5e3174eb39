//go:build linux

package main

import "testing"

func TestSpread(t *testing.T) {
	for _, tc := range []struct {
		in   []float64
		want spread
	}{
		{nil, spread{}},
		{[]float64{3}, spread{3, 3, 3}},
		{[]float64{9, 1, 4}, spread{4, 1, 9}},
		{[]float64{4, 1, 2, 9}, spread{3, 1, 9}},
	} {
		if got := spreadOf(tc.in); got != tc.want {
			t.Errorf("spread of %v is %v, want %v", tc.in, got, tc.want)
		}
	}
	in := []float64{2, 1}
	if spreadOf(in); in[0] != 2 {
		t.Error("spreadOf reorders its argument, which is a series by round")
	}
}

func TestPercentile(t *testing.T) {
	var hundred []int
	for i := range 100 {
		hundred = append(hundred, 100-i)
	}
	for q, want := range map[float64]int{0: 1, 0.5: 50, 0.99: 99, 1: 100} {
		if got := percentile(hundred, q); got != want {
			t.Errorf("percentile %v of 1..100 is %d, want %d", q, got, want)
		}
	}
	if got := percentile([]int{7}, 0.99); got != 7 {
		t.Errorf("percentile of one value is %d, want 7", got)
	}
	if got := percentile([]int(nil), 0.5); got != 0 {
		t.Errorf("percentile of nothing is %d, want 0", got)
	}
}
