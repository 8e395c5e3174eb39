package rehearsal

import (
	"math/rand/v2"
	"time"

	"crossfade.dev/internal/rollout"
)

// Run is one rollout on synthetic traffic, an instant at a time.
type Run struct {
	Plan  *rollout.Plan
	State *rollout.State
	// Took is the time since the beginning.
	Took time.Duration
	// Passed counts the gates that the rehearsal has passed in a person's stead.
	Passed int

	start time.Time
	world world
}

// begin is where the time of every run begins: it only has to be the same.
var begin = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// New begins a run of a complete and checked plan. Runs with one seed are equal.
func New(plan *rollout.Plan, t Traffic, seed uint64) (*Run, error) {
	if err := t.Complete(); err != nil {
		return nil, err
	}
	p := *plan
	p.Paused = false
	return &Run{Plan: &p, State: &rollout.State{}, start: begin, world: world{Traffic: t, Rand: rand.New(rand.NewPCG(seed, 0x7EAE))}}, nil
}

// Tick goes on by one window of the plan and returns what happened.
func (r *Run) Tick() []rollout.Action {
	from := r.start.Add(r.Took)
	r.Took += r.Plan.Analysis.Tick
	to := r.start.Add(r.Took)
	o := r.world.window(r.Plan, r.State, from, to)
	next, actions := rollout.Step(r.Plan, r.State, rollout.Event{At: to, Observation: o, Values: values(r.Plan)})
	r.State = next
	if next.Pause != nil && next.Pause.Reason == "Gate" {
		r.Passed++
		actions = append(actions, r.Ask(rollout.Request{ID: "gate" + to.String(), Verb: rollout.VerbPromote, By: "the rehearsal"})...)
	}
	return actions
}

// Ask carries out an operator's request for the running attempt.
func (r *Run) Ask(request rollout.Request) []rollout.Action {
	request.Attempt = r.State.Number
	return r.Take(&request)
}

// Take carries out a request as it is.
func (r *Run) Take(request *rollout.Request) []rollout.Action {
	next, actions := rollout.Step(r.Plan, r.State, rollout.Event{At: r.start.Add(r.Took), Request: request})
	r.State = next
	return actions
}

// Ended reports whether nothing more will happen by itself.
func (r *Run) Ended() bool {
	switch r.State.Phase {
	case rollout.Promoted, rollout.Aborted:
		return true
	case rollout.Paused:
		return r.State.Pause != nil
	}
	return false
}

// values are those of providers outside, which a rehearsal takes to be good.
func values(plan *rollout.Plan) (out []rollout.Value) {
	for _, g := range plan.Analysis.Guardrails {
		if g.External {
			out = append(out, rollout.Value{Guardrail: g.Name, Value: min(max(0, g.Low), g.High)})
		}
	}
	return out
}

// Result is how a run ended.
type Result struct {
	// Phase it ended in; one that still runs took too long.
	Phase rollout.Phase
	// Reason and Message of an abort or a pause.
	Reason, Message string
	Took            time.Duration
	// Exposed is how long the candidate had traffic, Candidate how many requests it
	// got, and Failed how many of those failed more than stable's would have, by
	// expectation.
	Exposed   time.Duration
	Candidate int64
	Failed    float64
	Unpowered bool
	Gates     int
}

// Play goes on until the rollout has ended, or for limit, and calls see after each
// window; see may be nil, and returns whether to go on.
func (r *Run) Play(limit time.Duration, see func(*Run, []rollout.Action) bool) Result {
	var out Result
	for r.Took < limit && !r.Ended() {
		share := r.State.Share.Set
		actions := r.Tick()
		if share > 0 {
			out.Exposed += r.Plan.Analysis.Tick
		}
		n := r.State.Last.Candidate.Arrivals
		out.Candidate += n
		out.Failed += float64(n) * max(0, r.world.Traffic.Candidate.Errors-r.world.Traffic.Stable.Errors)
		if see != nil && !see(r, actions) {
			break
		}
	}
	s := r.State
	out.Phase, out.Reason, out.Message, out.Took, out.Unpowered, out.Gates = s.Phase, s.Reason, s.Message, r.Took, s.Unpowered, r.Passed
	if s.Pause != nil {
		out.Reason, out.Message = s.Pause.Reason, s.Pause.Message
	} else if s.Hold != "" {
		out.Reason, out.Message = s.Hold, s.HoldMessage
	}
	return out
}
