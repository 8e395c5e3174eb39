package rollout

import (
	"fmt"
	"time"

	"crossfade.dev/internal/rollout/stats"
)

// Phase is where a rollout stands.
type Phase string

// The phases. See the package comment for the way between them.
const (
	Idle        Phase = "Idle"
	Warming     Phase = "Warming"
	Shadowing   Phase = "Shadowing"
	Progressing Phase = "Progressing"
	Analyzing   Phase = "Analyzing"
	Paused      Phase = "Paused"
	Promoting   Phase = "Promoting"
	Soaking     Phase = "Soaking"
	Promoted    Phase = "Promoted"
	Aborting    Phase = "Aborting"
	Aborted     Phase = "Aborted"
	Superseded  Phase = "Superseded"
)

// Running reports whether an attempt is under way and goes forward or waits.
func (p Phase) Running() bool {
	switch p {
	case Warming, Shadowing, Progressing, Analyzing, Paused, Promoting, Soaking:
		return true
	}
	return false
}

// State is all that a rollout remembers: what it needs to go on after a restart,
// and what it has to show. It is written as JSON into the object's status; the
// zero value is a rollout that has not begun.
type State struct {
	Phase Phase `json:"phase,omitempty"`
	// At is the latest instant an event brought; time never goes back.
	At time.Time `json:"at,omitzero"`
	// Epoch is the highest lease epoch seen: events of older leaders are ignored.
	Epoch int64 `json:"epoch,omitempty"`

	// Number counts attempts; verbs name it. Key and SpecAttempt are what the
	// running or last attempt was started for.
	Number      int64     `json:"number,omitempty"`
	Key         string    `json:"key,omitempty"`
	SpecAttempt int64     `json:"specAttempt,omitempty"`
	Stable      string    `json:"stable,omitempty"`
	Candidate   string    `json:"candidate,omitempty"`
	Started     time.Time `json:"started,omitzero"`
	PromotedKey string    `json:"promotedKey,omitempty"`
	AbortedKey  string    `json:"abortedKey,omitempty"`

	PlanHash string `json:"planHash,omitempty"`
	// Drift says that the plan was changed during the attempt.
	Drift bool       `json:"drift,omitempty"`
	Steps []PlanStep `json:"steps,omitempty"`
	// Step is the index of the current one, len(Steps) when all are done.
	Step int `json:"step"`
	// StepStarted is an instant; Watched is the time within the step that
	// complete observations cover.
	StepStarted time.Time     `json:"stepStarted,omitzero"`
	Watched     time.Duration `json:"watched,omitempty"`

	Share ShareState `json:"share"`
	// Pause is why the rollout stands still for a person; nil if it does not.
	Pause *Pause `json:"pause,omitempty"`
	// Hold is why it waits for something that may come by itself; "" if it does
	// not.
	Hold string `json:"hold,omitempty"`
	// HoldMessage is Hold in words.
	HoldMessage string `json:"holdMessage,omitempty"`
	// Reason and Message say what ended the attempt, or ends it.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	By      string `json:"by,omitempty"`

	Last Latest `json:"last"`
	// Books are the evidence by guardrail.
	Books map[string]*Book `json:"books,omitempty"`
	// Warmed is how much traffic time the candidate has had, up to Settle.
	Warmed time.Duration `json:"warmed,omitempty"`
	// Acknowledged are guardrails whose failure a person has resumed over.
	Acknowledged []string `json:"acknowledged,omitempty"`
	// LastRequest is the last operator's request that was taken up, so that it
	// acts once.
	LastRequest string `json:"lastRequest,omitempty"`
	// Taken are the IDs of the last requests, the latest at the end: a request may
	// stand in the status and another one in an annotation, for long.
	Taken []string `json:"taken,omitempty"`
	// Refused says why the last request was not followed; "" when it was.
	Refused string `json:"refused,omitempty"`
	// AbortAlarm was raised: the share of 0 is not in force where it should be.
	AbortAlarm bool `json:"abortAlarm,omitempty"`
	// Unpowered says that a step was passed without enough data to prove a pass.
	Unpowered bool `json:"unpowered,omitempty"`

	History []Record `json:"history,omitempty"` // oldest first
}

// ShareState is the part of the traffic that the candidate gets.
type ShareState struct {
	Set Share `json:"set"`
	// Revision grows with each change; gateways say which one they serve.
	Revision int64     `json:"revision,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Salt     string    `json:"salt,omitempty"`
	// Verified says that every gateway serves the revision and arrivals agree.
	Verified bool `json:"verified,omitempty"`
	// InForce is when the revision was first seen at every gateway.
	InForce time.Time `json:"inForce,omitzero"`
	// Arrivals since the revision was in force everywhere.
	Candidate int64 `json:"candidate,omitempty"`
	Total     int64 `json:"total,omitempty"`
}

// Observed is the candidate's part of the arrivals since the share was set; ok is
// false while there were none.
func (s ShareState) Observed() (part float64, ok bool) {
	if s.Total == 0 {
		return 0, false
	}
	return float64(s.Candidate) / float64(s.Total), true
}

// Pause is a stop that a person ends.
type Pause struct {
	Reason  string    `json:"reason"`
	Message string    `json:"message,omitempty"`
	By      string    `json:"by,omitempty"`
	Since   time.Time `json:"since,omitzero"`
	// Guardrail that asked for it; resuming acknowledges it.
	Guardrail string `json:"guardrail,omitempty"`
}

// Latest is the last complete observation, for gates and for people.
type Latest struct {
	To        time.Time `json:"to,omitzero"`
	Missing   []string  `json:"missing,omitempty"`
	Candidate Arm       `json:"candidate"`
	Stable    Arm       `json:"stable"`
	// StableAtStart is how many endpoints stable had when the attempt began.
	StableAtStart int      `json:"stableAtStart,omitempty"`
	NoModel       []string `json:"noModel,omitempty"`
	// Rate is the total of arrivals a second.
	Rate       float64 `json:"rate,omitempty"`
	Warm       int     `json:"warm,omitempty"`
	WarmSteady bool    `json:"warmSteady,omitempty"`
}

// Record is one finished attempt.
type Record struct {
	Number    int64     `json:"number"`
	Key       string    `json:"key"`
	Candidate string    `json:"candidate"`
	Started   time.Time `json:"started,omitzero"`
	Ended     time.Time `json:"ended,omitzero"`
	Outcome   Phase     `json:"outcome"`
	Reason    string    `json:"reason,omitempty"`
	Message   string    `json:"message,omitempty"`
	By        string    `json:"by,omitempty"`
	Share     Share     `json:"share"` // when it ended
	Step      int       `json:"step"`
}

// known reports whether this version knows the phase.
func (p Phase) known() bool {
	switch p {
	case "", Idle, Promoted, Aborting, Aborted, Superseded:
		return true
	}
	return p.Running()
}

// repair makes sense of a state that another version wrote, or a person's hand. What
// cannot be understood stays as it is, for a person to decide.
func (s *State) repair() {
	s.Step = max(0, s.Step)
	s.Share.Set = min(max(0, s.Share.Set), Whole)
	if !s.Phase.known() {
		s.Pause = &Pause{Reason: "UnknownState", Message: fmt.Sprintf("phase %q is not known to this version", s.Phase), Since: s.At}
		s.Phase = Paused
	}
}

// Rewind takes instants that lie after now for now. Who wrote them had a clock that was
// ahead; without this nothing would count, or end, until that time has come. It is for
// whoever reads a state that somebody else, or an earlier process, has written.
func (s *State) Rewind(now time.Time) {
	instants := []*time.Time{&s.At, &s.Started, &s.StepStarted, &s.Share.Since, &s.Share.InForce, &s.Last.To}
	if s.Pause != nil {
		instants = append(instants, &s.Pause.Since)
	}
	for _, b := range s.Books {
		if b != nil {
			instants = append(instants, &b.Since, &b.External.At, &b.External.Failing)
		}
	}
	for _, t := range instants {
		if t.After(now) {
			*t = now
		}
	}
}

// clone returns a copy that shares nothing that Step changes.
func (s *State) clone() *State {
	c := *s
	c.repair()
	c.Steps = append([]PlanStep(nil), s.Steps...)
	c.History = append([]Record(nil), s.History...)
	c.Acknowledged = append([]string(nil), s.Acknowledged...)
	c.Taken = append([]string(nil), s.Taken...)
	if s.Pause != nil {
		p := *s.Pause
		c.Pause = &p
	}
	if s.Books != nil {
		c.Books = make(map[string]*Book, len(s.Books))
		for name, b := range s.Books {
			if b != nil {
				c.Books[name] = b.clone()
			}
		}
	}
	return &c
}

// Book is the evidence of one guardrail.
type Book struct {
	// Margins the evidence was collected for; others need a new test.
	Margins []float64 `json:"margins"`
	// Signals: one for a metric of events; for a latency one for each quantile,
	// then one for its limit.
	Signals []stats.Evidence `json:"signals,omitempty"`
	// Trails are stable's past latencies by stratum.
	Trails map[string]stats.Trail `json:"trails,omitempty"`
	// Lately are both arms' latencies of the same windows, for people: no verdict
	// rests on them.
	Lately Lately `json:"lately,omitzero"`
	// Limit is the evidence of the candidate alone against the maximum rate.
	Limit stats.Limit `json:"limit"`
	// Recent is stable's rate of events lately.
	Recent   Fading           `json:"recent"`
	Halves   stats.Dispersion `json:"halves"`
	Pairs    Pairs            `json:"pairs"`
	External External         `json:"external"`
	// Verdict is the last one, its words and the instant it came about.
	Verdict Verdict   `json:"verdict,omitempty"`
	Note    string    `json:"note,omitempty"`
	Since   time.Time `json:"since,omitzero"`
}

// Fading is a tally in which older windows weigh less.
type Fading struct {
	Units  float64 `json:"n"`
	Events float64 `json:"f"`
}

// Lately is how long it took lately in each arm, all strata together.
type Lately struct {
	Candidate stats.Trail `json:"candidate,omitzero"`
	Stable    stats.Trail `json:"stable,omitzero"`
}

// External is what a provider outside said last.
type External struct {
	Value   float64   `json:"value,omitempty"`
	At      time.Time `json:"at,omitzero"`      // of the value; zero: none yet
	Failing time.Time `json:"failing,omitzero"` // since when it cannot be asked
	Error   string    `json:"error,omitempty"`
}

func (b *Book) clone() *Book {
	c := *b
	c.Signals = make([]stats.Evidence, len(b.Signals))
	for i := range b.Signals {
		c.Signals[i] = b.Signals[i].Clone()
	}
	c.Limit = b.Limit.Clone()
	c.Lately = Lately{Candidate: b.Lately.Candidate.Clone(), Stable: b.Lately.Stable.Clone()}
	if b.Trails != nil {
		c.Trails = make(map[string]stats.Trail, len(b.Trails))
		for k, t := range b.Trails {
			c.Trails[k] = t.Clone()
		}
	}
	return &c
}
