package rollout

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"crossfade.dev/internal/rollout/stats"
)

// Share is a part of the traffic in hundredths of a percent, 0 … Whole.
type Share int

// Whole is all of the traffic.
const Whole Share = 10_000

// String prints the share as "12.5%".
func (s Share) String() string {
	switch {
	case s%100 == 0:
		return fmt.Sprintf("%d%%", s/100)
	case s%10 == 0:
		return fmt.Sprintf("%d.%d%%", s/100, s%100/10)
	}
	return fmt.Sprintf("%d.%02d%%", s/100, s%100)
}

// Plan is what a rollout wants: a plain value made of its object, complete (every
// default filled in by Complete) and valid (Check).
type Plan struct {
	Name string // namespace/name of the rollout
	// Target is what the traffic is split over; Stable and Candidate are the
	// names of its two sides, such as "InferencePool llm/qwen3-v2". Revision is
	// whatever else makes the candidate another one.
	Target, Stable, Candidate, Revision string
	// Attempt grows when the user wants the same candidate tried again.
	Attempt int64
	Paused  bool

	Steps    []PlanStep
	Analysis Analysis
	Capacity Capacity
	Abort    AbortOptions
	// StepDeadline and TotalDeadline pause a rollout that takes longer; 0 is
	// never.
	StepDeadline, TotalDeadline time.Duration
	HistoryLimit                int
}

// StepKind says what a PlanStep does.
type StepKind string

// The kinds of steps. A ramp is no step: it is expanded into shares and holds.
const (
	Warmup   StepKind = "warmup"
	Mirror   StepKind = "mirror"
	SetShare StepKind = "setShare"
	// Hold stays at a share for a time: harm ends it, a lack of proof does not.
	Hold StepKind = "hold"
	// Analyze waits for a conclusive pass, up to a time.
	Analyze StepKind = "analyze"
	// Gate waits for a person, or for a time when Min is set.
	Gate StepKind = "gate"
	Soak StepKind = "soak"
)

// PlanStep is one step of a plan. Which fields count depends on Kind.
type PlanStep struct {
	Kind  StepKind `json:"kind"`
	Share Share    `json:"share,omitempty"` // SetShare
	// Min is how long the step lasts at least, in observed time; Max when it
	// gives up, 0 is never.
	Min time.Duration `json:"min,omitempty"`
	Max time.Duration `json:"max,omitempty"`
	// Requests per endpoint that a warm-up sends.
	Requests int `json:"requests,omitempty"`
	// Percent of stable's requests that are mirrored, 0 to 100, until Pairs
	// pairs of answers were compared; MaxTokens bounds an answer.
	Percent   int   `json:"percent,omitempty"`
	Pairs     int64 `json:"pairs,omitempty"`
	MaxTokens int   `json:"maxTokens,omitempty"`
}

// String prints the step as the plan's reader would say it.
func (s PlanStep) String() string {
	switch s.Kind {
	case Warmup:
		return fmt.Sprintf("warm-up with %d requests per endpoint", s.Requests)
	case Mirror:
		return fmt.Sprintf("mirror %d%% for %d pairs", s.Percent, s.Pairs)
	case SetShare:
		return "share " + s.Share.String()
	case Hold:
		return "hold " + Words(s.Min)
	case Analyze:
		return fmt.Sprintf("analyze %s to %s", Words(s.Min), Words(s.Max))
	case Gate:
		if s.Min > 0 {
			return "wait " + Words(s.Min)
		}
		return "wait for promote"
	case Soak:
		return "soak " + Words(s.Min)
	}
	return string(s.Kind)
}

// Ramp returns the steps of a ramp: shares from, from·factor, … up to to, with a
// hold after each but the last, whose hold is the caller's to add.
func Ramp(from, to Share, factor float64, minHold, maxHold time.Duration) []PlanStep {
	var out []PlanStep
	for at := float64(from); ; at *= factor {
		share := min(Share(at+0.5), to)
		out = append(out, PlanStep{Kind: SetShare, Share: share})
		if share == to || factor <= 1 || from <= 0 {
			return out
		}
		out = append(out, PlanStep{Kind: Hold, Min: minHold, Max: maxHold})
	}
}

// Policy says what to do when a step's time is over and too little was seen.
type Policy string

// The policies for insufficient data.
const (
	PolicyHold             Policy = "Hold"   // pause for a person
	PolicyExtend           Policy = "Extend" // wait on
	PolicyProceedUnpowered Policy = "ProceedUnpowered"
	PolicyAbort            Policy = "Abort"
)

// Analysis says how the candidate is judged.
type Analysis struct {
	Tick           time.Duration
	Alpha, Beta    float64
	OnInsufficient Policy
	// AbortOnStall aborts when an outside provider of a metric has failed for
	// StallTimeout; otherwise the rollout pauses then.
	AbortOnStall bool
	StallTimeout time.Duration
	// Settle is the observed time after the candidate's first traffic during
	// which its latencies do not count: caches are cold.
	Settle     time.Duration
	Guardrails []Guardrail
}

// Class says what a failed guardrail does.
type Class string

// The classes: Hard aborts, Soft pauses, Info is shown.
const (
	Hard Class = "Hard"
	Soft Class = "Soft"
	Info Class = "Info"
)

// Guardrail is one metric that is watched.
type Guardrail struct {
	Name   string // of the metric, unique in a plan
	Class  Class
	DryRun bool // judged and shown, without consequence
	// Question is asked of the metric's odds ratio.
	Question stats.Question
	// Quantiles of stable's past that a latency is compared at, each in (0, 1);
	// empty for a metric of events.
	Quantiles []float64
	// Limit is a fixed threshold of a latency, compared between the arms as one
	// more signal; 0 is none.
	Limit time.Duration
	// Loaded says that the load of an arm moves the metric, as it does latencies:
	// it is judged only while both are about equally loaded.
	Loaded bool
	// Tolerance is how many times as long a latency may be, in steps of 9 %; 1 is
	// not at all. The candidate's is compared with the threshold times it.
	Tolerance float64
	// MinEndpoints of the candidate for a failure to abort instead of pausing:
	// with one, a bad pod looks like a bad version.
	MinEndpoints int
	// Max is the largest rate of events that is good, for any arm; 0 is none.
	Max        float64
	MinSamples int64
	// Rare says that few requests, perhaps none, are units of the metric, as when it
	// is about answers in JSON: too few of them hold nothing up.
	Rare bool
	// External says that a provider outside reports a value, which is good
	// between Low and High.
	External  bool
	Low, High float64
}

// Capacity says how the share is kept within what the candidate can take.
type Capacity struct {
	Off bool
	// MinStablePercent of its endpoints at the start stable must have before
	// traffic is sent back to it in peace (never asked in an abort).
	MinStablePercent int
}

// AbortOptions say what happens to running requests.
type AbortOptions struct {
	Cancel       bool // running streams of the candidate are cut
	DrainTimeout time.Duration
}

// Key identifies what is rolled out: a change of it is a new attempt.
func (p *Plan) Key() string { return digest(p.Target, p.Stable, p.Candidate, p.Revision) }

// Hash identifies how: steps and analysis.
func (p *Plan) Hash() string { return digest(p.Steps, p.Analysis, p.Capacity) }

// Salt makes the cohort: equal for retries of one candidate, another one for the
// next, so that it is not always the same users who go first.
func (p *Plan) Salt() string { return digest(p.Name, p.Candidate, p.Revision) }

func digest(parts ...any) string {
	text, err := json.Marshal(parts)
	if err != nil {
		panic(err) // plain values; infinite bounds are refused by Check
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:6])
}

// Words prints a duration without needless zero units, such as "1h5m".
func Words(d time.Duration) string {
	d = d.Round(time.Second)
	h, m, s := int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60
	out := ""
	if h != 0 {
		out += fmt.Sprintf("%dh", h)
	}
	if m != 0 {
		out += fmt.Sprintf("%dm", m)
	}
	if s != 0 || out == "" {
		out += fmt.Sprintf("%ds", s)
	}
	return out
}
