package sim

import (
	"slices"
	"strconv"
	"strings"
)

// histogram is a Prometheus histogram of one series.
type histogram struct {
	bounds []float64
	counts []uint64 // per bucket, not cumulated; the last is above all bounds
	sum    float64
	n      uint64
}

func newHistogram(bounds ...float64) *histogram {
	return &histogram{bounds: bounds, counts: make([]uint64, len(bounds)+1)}
}

func (h *histogram) observe(v float64) {
	i, _ := slices.BinarySearch(h.bounds, v)
	h.counts[i]++
	h.sum += v
	h.n++
}

// bounds125 are 1, 2, 5, 10, ... up to limit.
func bounds125(limit int) []float64 {
	var b []float64
	for p := 1; ; p *= 10 {
		for _, m := range []int{1, 2, 5} {
			if m*p > limit {
				return b
			}
			b = append(b, float64(m*p))
		}
	}
}

// appendTo writes the series in the text exposition format; labels come without
// braces and are not empty.
func (h *histogram) appendTo(b []byte, name, labels string) []byte {
	var total uint64
	for i, n := range h.counts {
		total += n
		le := "+Inf"
		if i < len(h.bounds) {
			le = strconv.FormatFloat(h.bounds[i], 'g', -1, 64)
			if !strings.ContainsAny(le, ".e") {
				le += ".0" // as Python's client writes it
			}
		}
		b = append(b, name...)
		b = append(b, "_bucket{"...)
		b = append(b, labels...)
		b = append(b, `,le="`...)
		b = append(b, le...)
		b = append(b, `"} `...)
		b = strconv.AppendUint(b, total, 10)
		b = append(b, '\n')
	}
	b = appendSample(b, name+"_sum", labels, h.sum)
	return appendSample(b, name+"_count", labels, float64(h.n))
}

// appendSample writes one line; labels may be empty.
func appendSample(b []byte, name, labels string, v float64) []byte {
	b = append(b, name...)
	if labels != "" {
		b = append(b, '{')
		b = append(b, labels...)
		b = append(b, '}')
	}
	b = append(b, ' ')
	b = strconv.AppendFloat(b, v, 'f', -1, 64)
	return append(b, '\n')
}
