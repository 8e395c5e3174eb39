package sim

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Faults are the ways in which a server misbehaves. They can be replaced or
// changed while it runs, at /sim/faults, in the JSON form of this struct; the
// zero value of a multiplier or status means its default.
//
// Rates are probabilities from 0 to 1. One request suffers at most one of fail,
// reset, break and hang, and at most one of the quality faults, so the rates of
// each group must not add up to more than 1.
type Faults struct {
	ExtraTTFTMs       float64 `json:"extraTtftMs"`       // wait before the engine sees the request, wall milliseconds
	ExtraITLMs        float64 `json:"extraItlMs"`        // added to every engine step, wall milliseconds
	PrefillMultiplier float64 `json:"prefillMultiplier"` // of the time that prompt tokens take; 1
	DecodeMultiplier  float64 `json:"decodeMultiplier"`  // of the rest of a step; 1

	FailRate   float64 `json:"failRate"`   // answer FailStatus
	FailStatus int     `json:"failStatus"` // 400 to 599; 500
	ResetRate  float64 `json:"resetRate"`  // reset the connection before the first byte
	BreakRate  float64 `json:"breakRate"`  // close the connection within the answer
	BreakAfter int     `json:"breakAfter"` // tokens that a broken stream still sends
	HangRate   float64 `json:"hangRate"`   // accept and never answer

	EmptyRate       float64 `json:"emptyRate"`       // answer nothing
	LoopRate        float64 `json:"loopRate"`        // repeat one sentence
	InvalidJSONRate float64 `json:"invalidJsonRate"` // content that looks like JSON and is not
	OverlongRate    float64 `json:"overlongRate"`    // far too much text

	// InvalidToolCallRate: call a tool that is not offered, or with broken arguments.
	// Requests that offer no tools do not suffer from it.
	InvalidToolCallRate float64 `json:"invalidToolCallRate"`

	NotReady bool `json:"notReady"` // /health answers 503; requests are still served
}

// withDefaults fills the fields whose zero value has a meaning.
func (f Faults) withDefaults() Faults {
	orElse(&f.PrefillMultiplier, 1)
	orElse(&f.DecodeMultiplier, 1)
	orElse(&f.FailStatus, 500)
	return f
}

const (
	maxExtraMs    = 600_000
	maxMultiplier = 1000
)

// check names every field that is out of range.
func (f Faults) check() error {
	var errs []error
	within := func(name string, v, low, high float64) {
		if !(v >= low && v <= high) { // also false for NaN
			errs = append(errs, fmt.Errorf("%s is %g: want %g to %g", name, v, low, high))
		}
	}
	within("extraTtftMs", f.ExtraTTFTMs, 0, maxExtraMs)
	within("extraItlMs", f.ExtraITLMs, 0, maxExtraMs)
	within("prefillMultiplier", f.PrefillMultiplier, 0.001, maxMultiplier)
	within("decodeMultiplier", f.DecodeMultiplier, 0.001, maxMultiplier)
	within("failStatus", float64(f.FailStatus), 400, 599)
	within("breakAfter", float64(f.BreakAfter), 0, 1e6)
	sums := map[string]float64{}
	for _, r := range f.rates() {
		within(r.field, r.rate, 0, 1)
		sums[r.group] += r.rate
	}
	for _, group := range []string{"transport", "quality"} {
		if sums[group] > 1+1e-9 {
			errs = append(errs, fmt.Errorf("the %s rates add up to %g: want at most 1", group, sums[group]))
		}
	}
	return errors.Join(errs...)
}

type rate struct {
	group, field, fault string
	rate                float64
}

func (f Faults) rates() []rate {
	return []rate{
		{"transport", "failRate", "fail", f.FailRate},
		{"transport", "resetRate", "reset", f.ResetRate},
		{"transport", "breakRate", "break", f.BreakRate},
		{"transport", "hangRate", "hang", f.HangRate},
		{"quality", "emptyRate", string(qualityEmpty), f.EmptyRate},
		{"quality", "loopRate", string(qualityLoop), f.LoopRate},
		{"quality", "invalidJsonRate", string(qualityInvalidJSON), f.InvalidJSONRate},
		{"quality", "overlongRate", string(qualityOverlong), f.OverlongRate},
		{"quality", "invalidToolCallRate", string(qualityInvalidToolCall), f.InvalidToolCallRate},
	}
}

// mishap is what one request will suffer.
type mishap struct {
	transport string // "", "fail", "reset", "break" or "hang"
	status    int    // of fail
	after     int    // tokens before break
	quality   quality
	wait      time.Duration
}

// draw decides what a request suffers; u and v are uniform in [0, 1).
func (f Faults) draw(u, v float64) mishap {
	m := f.still()
	m.transport = f.pick("transport", u)
	m.quality = quality(f.pick("quality", v))
	return m
}

// still is a mishap in which only the parameters are set.
func (f Faults) still() mishap {
	return mishap{status: f.FailStatus, after: f.BreakAfter, wait: millis(f.ExtraTTFTMs)}
}

func (f Faults) pick(group string, u float64) string {
	for _, r := range f.rates() {
		if r.group != group {
			continue
		}
		if u < r.rate {
			return r.fault
		}
		u -= r.rate
	}
	return ""
}

// force reads the X-Sim-Fault header: the name of one fault, with its parameter
// where it has one (fail=503, break=3, ttft=250ms).
func (f Faults) force(header string) (mishap, error) {
	m := f.still()
	name, arg, hasArg := strings.Cut(header, "=")
	var err error
	switch name {
	case "fail":
		m.transport = name
		if hasArg {
			m.status, err = intWithin(arg, 400, 599)
		}
	case "break":
		m.transport = name
		if hasArg {
			m.after, err = intWithin(arg, 0, 1e6)
		}
	case "ttft":
		m.wait, err = time.ParseDuration(arg)
		if err == nil && (m.wait < 0 || m.wait > maxExtraMs*time.Millisecond) {
			err = fmt.Errorf("want 0s to %s", maxExtraMs*time.Millisecond)
		}
	case "reset", "hang":
		m.transport = name
	case string(qualityEmpty), string(qualityLoop), string(qualityInvalidJSON), string(qualityOverlong),
		string(qualityInvalidToolCall):
		m.quality = quality(name)
	case "none":
		m = mishap{}
	default:
		err = errors.New("want none, fail, reset, break, hang, ttft, empty, loop, invalid-json, overlong or invalid-tool-call")
	}
	if err != nil {
		return mishap{}, fmt.Errorf("%s %q: %w", faultHeader, header, err)
	}
	return m, nil
}

// faultHeader forces one fault on one request.
const faultHeader = "X-Sim-Fault"

func intWithin(s string, low, high int) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil || n < low || n > high {
		return 0, fmt.Errorf("want a number from %d to %d", low, high)
	}
	return n, nil
}

func millis(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
