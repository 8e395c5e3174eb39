package rollout

import (
	"fmt"
	"time"

	"crossfade.dev/internal/rollout/stats"
)

// Event is something that happened. Any of its parts may be missing; an event with
// At alone is a tick.
type Event struct {
	At time.Time
	// Epoch is the lease epoch of the leader that brings the event. 0 makes no
	// claim: there is one writer only.
	Epoch       int64
	Observation *Observation
	Request     *Request
	// Breaker is set when a gateway has stopped sending to the candidate on its
	// own; it says why.
	Breaker string
	Values  []Value
	// Blocked says why the plan must not go on, "" if it may. Guardrails and
	// operators are heard nevertheless.
	Blocked string
}

// Observation is what all gateways counted in one window. It is complete or it is
// not: with a gateway missing, or one that restarted within the window, the
// window is dropped for both arms, which keeps the comparison fair.
type Observation struct {
	From, To time.Time
	// Missing names gateways whose counts are not in it.
	Missing []string
	// Oldest is the lowest share revision that a gateway serves.
	Oldest int64
	// Candidate and Stable are the arms.
	Candidate, Stable Arm
	// NoModel names endpoints of the candidate that do not serve its model.
	NoModel []string
	// Warm is how many warm-up requests the least served endpoint has answered,
	// and whether their latency has become steady.
	Warm       int
	WarmSteady bool
	// Samples by metric and stratum.
	Samples map[string]map[string]Sample
}

// Arm is the state of one side.
type Arm struct {
	// Arrivals within the window; InFlight at its end.
	Arrivals int64 `json:"arrivals,omitempty"`
	InFlight int64 `json:"inFlight,omitempty"`
	// Known says that the endpoints' state is known.
	Known   bool    `json:"known,omitempty"`
	Ready   int     `json:"ready,omitempty"`
	Running int     `json:"running,omitempty"`
	Waiting int     `json:"waiting,omitempty"`
	KV      float64 `json:"kv,omitempty"` // the mean use of KV caches, 0 … 1
}

// Sample is one window of one metric in one stratum. A metric of events has a
// Table, a latency two histograms of units (the worst of each unit).
type Sample struct {
	Table     stats.Table     `json:"table,omitzero"`
	Candidate stats.Histogram `json:"candidate,omitempty"`
	Stable    stats.Histogram `json:"stable,omitempty"`
	// Halves is stable split in two, to see how much windows vary; nil: not known.
	Halves *Halves `json:"halves,omitempty"`
	Pairs  Pairs   `json:"pairs,omitzero"`
}

// Halves are stable's units by a hash of their own: a Table of events, or two
// histograms.
type Halves struct {
	Table stats.Table     `json:"table,omitzero"`
	A     stats.Histogram `json:"a,omitempty"`
	B     stats.Histogram `json:"b,omitempty"`
}

// Pairs counts pairs of answers to one prompt by which was worse.
type Pairs struct {
	Worse  int64 `json:"worse,omitempty"`  // the candidate's
	Better int64 `json:"better,omitempty"` // stable's was worse
	Same   int64 `json:"same,omitempty"`
}

// Total is the number of pairs.
func (p Pairs) Total() int64 { return p.Worse + p.Better + p.Same }

// Value is what a provider outside says of a guardrail, or why it says nothing.
type Value struct {
	Guardrail string
	Value     float64
	Err       string
}

// Verb is what an operator may ask for.
type Verb string

// The verbs.
const (
	VerbPause       Verb = "pause"
	VerbResume      Verb = "resume"
	VerbPromote     Verb = "promote" // end the current step
	VerbPromoteFull Verb = "promote-full"
	VerbAbort       Verb = "abort"
	VerbRetry       Verb = "retry"
	VerbUndo        Verb = "undo"
	VerbSetShare    Verb = "set-share"
)

// Verbs returns all verbs.
func Verbs() []Verb {
	return []Verb{VerbPause, VerbResume, VerbPromote, VerbPromoteFull, VerbAbort, VerbRetry, VerbUndo, VerbSetShare}
}

// Request is an operator's verb.
type Request struct {
	ID      string // makes it act once
	Verb    Verb
	Attempt int64 // the attempt the operator saw
	Share   Share // of set-share
	Reason  string
	By      string
}

// String prints who asked and why, as far as is known.
func (r *Request) String() string {
	by := r.By
	if by == "" {
		by = "somebody"
	}
	if r.Reason == "" {
		return fmt.Sprintf("%s by %s", r.Verb, by)
	}
	return fmt.Sprintf("%s by %s: %s", r.Verb, by, r.Reason)
}

// Action is something to be done outside, after the new state has been written.
type Action struct {
	Kind    ActionKind
	Share   Share    // Apply
	Step    PlanStep // StartWarmup, StartMirror
	Reason  string
	Message string
}

// ActionKind says what an Action wants. Every action may be repeated without harm:
// a leader that starts over repeats those of the state it finds.
type ActionKind string

// The kinds of actions.
const (
	// Apply: gateways must serve the new share. It is always the first action.
	Apply ActionKind = "apply"
	// StartWarmup, StopWarmup, StartMirror and StopMirror are about requests
	// made for the candidate.
	StartWarmup ActionKind = "start-warmup"
	StopWarmup  ActionKind = "stop-warmup"
	StartMirror ActionKind = "start-mirror"
	StopMirror  ActionKind = "stop-mirror"
	// Cancel: streams that run on the candidate are to be cut.
	Cancel ActionKind = "cancel-in-flight"
	// Release: the candidate carries nothing any more and may be scaled down.
	Release ActionKind = "release-candidate"
	// Tell: a person should know, with Reason and Message.
	Tell ActionKind = "tell"
	// Alarm: a person must know at once.
	Alarm ActionKind = "alarm"
)

// String prints the action on one line.
func (a Action) String() string {
	switch a.Kind {
	case Apply:
		return fmt.Sprintf("apply %s", a.Share)
	case StartWarmup, StartMirror:
		return fmt.Sprintf("%s (%s)", a.Kind, a.Step)
	case Tell, Alarm:
		return fmt.Sprintf("%s %s: %s", a.Kind, a.Reason, a.Message)
	}
	return string(a.Kind)
}
