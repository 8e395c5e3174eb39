package stats

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Evidence is written into a status every few seconds, and there are hundreds of
// its numbers. Written with all their digits they would be three times as long.
const (
	// likelihoodDigits make an error of a thousandth in an e-value of e^1000.
	likelihoodDigits = 6
	// trailDigits are what a threshold of a few dozen units can tell.
	trailDigits = 3
)

// MarshalJSON writes the numbers with as many digits as a verdict needs.
func (l Likelihood) MarshalJSON() ([]byte, error) { return appendNumbers(nil, l, likelihoodDigits) }

// appendNumbers appends a JSON array of numbers with so many significant digits.
func appendNumbers(out []byte, numbers []float64, digits int) ([]byte, error) {
	out = append(out, '[')
	for i, v := range numbers {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("write evidence: %v is no finite number", v)
		}
		if i > 0 {
			out = append(out, ',')
		}
		out = strconv.AppendFloat(out, v, 'g', digits, 64)
	}
	return append(out, ']'), nil
}

// trailText is a Trail in JSON: the weights of the buckets from one on.
type trailText struct {
	From   int        `json:"from,omitempty"`
	Weight Likelihood `json:"w,omitempty"`
}

// MarshalJSON writes the weights one after the other, roughly.
func (t Trail) MarshalJSON() ([]byte, error) {
	first, last := NumBuckets, -1
	for b := range t.Weight {
		first, last = min(first, b), max(last, b)
	}
	if last < 0 {
		return []byte("{}"), nil
	}
	weights := make([]float64, last-first+1)
	for b, w := range t.Weight {
		weights[b-first] = w
	}
	out := fmt.Appendf(nil, `{"from":%d,"w":`, first)
	out, err := appendNumbers(out, weights, trailDigits)
	if err != nil {
		return nil, err
	}
	return append(out, '}'), nil
}

// UnmarshalJSON reads what MarshalJSON writes. What no trail can have is left out.
func (t *Trail) UnmarshalJSON(text []byte) error {
	var in trailText
	if err := json.Unmarshal(text, &in); err != nil {
		return err
	}
	t.Weight = nil
	for i, w := range in.Weight {
		if b := in.From + i; in.From >= 0 && in.From < NumBuckets && b < NumBuckets && w > 0 {
			if t.Weight == nil {
				t.Weight = map[int]float64{}
			}
			t.Weight[b] = w
		}
	}
	return nil
}
