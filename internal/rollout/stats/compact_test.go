package stats

import (
	"encoding/json"
	"math"
	"testing"
)

func TestTrailsAreReadBack(t *testing.T) {
	for _, trail := range []Trail{
		{},
		{Weight: map[int]float64{0: 1}},
		{Weight: map[int]float64{3: 12.5, 5: 1234, NumBuckets - 1: 0.001}},
	} {
		text, err := json.Marshal(trail)
		if err != nil {
			t.Fatal(err)
		}
		var got Trail
		if err := json.Unmarshal(text, &got); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if len(got.Weight) != len(trail.Weight) {
			t.Errorf("%v became %v", trail, got)
		}
		for b, w := range trail.Weight {
			if d := got.Weight[b]/w - 1; math.Abs(d) > 0.01 {
				t.Errorf("bucket %d: %v became %v", b, w, got.Weight[b])
			}
		}
	}
}

// What a hand or another version wrote does not hurt.
func TestTrailsOfStrangers(t *testing.T) {
	for text, buckets := range map[string]int{
		`{}`: 0, `null`: 0, `{"from": -5, "w": [1]}`: 0, `{"from": 100000, "w": [1, 2]}`: 0,
		`{"from": 2, "w": [1, -1, 0, 3]}`: 2, `{"from": 9223372036854775807, "w": [1, 1]}`: 0,
	} {
		var got Trail
		if err := json.Unmarshal([]byte(text), &got); err != nil || len(got.Weight) != buckets {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	var got Trail
	if json.Unmarshal([]byte(`{"w": {"5": 1}}`), &got) == nil {
		t.Error("another form is taken for one")
	}
}

func TestLikelihoodsThatAreNoneAreNotWritten(t *testing.T) {
	for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		if text, err := json.Marshal(Likelihood{0, v}); err == nil {
			t.Errorf("written as %s", text)
		}
	}
	if text, _ := json.Marshal(Likelihood{0, -655.0942924803741, 1e-9, 1234567890}); string(text) != "[0,-655.094,1e-09,1.23457e+09]" {
		t.Errorf("written as %s", text)
	}
}
