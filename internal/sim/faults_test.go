package sim

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestFaultsCheck(t *testing.T) {
	for want, f := range map[string]Faults{
		"failRate is 2: want 0 to 1":                   {FailRate: 2},
		"failRate is NaN":                              {FailRate: math.NaN()},
		"failStatus is 200: want 400 to 599":           {FailStatus: 200},
		"extraTtftMs is -1":                            {ExtraTTFTMs: -1},
		"decodeMultiplier is 1e+09":                    {DecodeMultiplier: 1e9},
		"the transport rates add up to 1.2":            {FailRate: 0.6, HangRate: 0.6},
		"the quality rates add up to 1.2":              {EmptyRate: 0.6, LoopRate: 0.6},
		"breakAfter is -1":                             {BreakAfter: -1},
		"resetRate is -1: want 0 to 1\nhangRate is -1": {ResetRate: -1, HangRate: -1},
	} {
		err := f.withDefaults().check()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, want %q", err, want)
		}
	}
	ok := Faults{FailRate: 0.4, ResetRate: 0.6, EmptyRate: 1}
	if err := ok.withDefaults().check(); err != nil {
		t.Errorf("rates of 1 in each group: %v", err)
	}
}

func TestFaultsDraw(t *testing.T) {
	f := Faults{FailRate: 0.25, BreakRate: 0.25, BreakAfter: 7, LoopRate: 0.5, FailStatus: 503}
	for _, c := range []struct {
		u, v      float64
		transport string
		quality   quality
	}{
		{0, 0, "fail", qualityLoop}, {0.249, 0.499, "fail", qualityLoop}, {0.25, 0.5, "break", qualityGood},
		{0.499, 0.9, "break", qualityGood}, {0.5, 0.2, "", qualityLoop}, {0.999, 0.999, "", qualityGood},
	} {
		m := f.draw(c.u, c.v)
		if m.transport != c.transport || m.quality != c.quality || m.status != 503 || m.after != 7 {
			t.Errorf("draw(%g, %g) = %+v", c.u, c.v, m)
		}
	}
}

func TestForcedFaults(t *testing.T) {
	f := Faults{ExtraTTFTMs: 5}.withDefaults()
	for header, want := range map[string]mishap{
		"fail":         {transport: "fail", status: 500, wait: 5 * time.Millisecond},
		"fail=503":     {transport: "fail", status: 503, wait: 5 * time.Millisecond},
		"break=3":      {transport: "break", after: 3, status: 500, wait: 5 * time.Millisecond},
		"ttft=2s":      {status: 500, wait: 2 * time.Second},
		"invalid-json": {quality: qualityInvalidJSON, status: 500, wait: 5 * time.Millisecond},
		"none":         {},
	} {
		if got, err := f.force(header); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", header, got, err, want)
		}
	}
	for _, header := range []string{"", "explode", "fail=200", "fail=x", "break=-1", "ttft", "ttft=-1s", "ttft=1h"} {
		if got, err := f.force(header); err == nil {
			t.Errorf("%q was taken as %+v", header, got)
		}
	}
}
