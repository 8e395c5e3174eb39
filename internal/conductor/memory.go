package conductor

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/translate"
)

// load takes the state from the object's status.
func (w *worker) load() {
	status := w.object.Status
	w.status = &status
	state, err := StateOf(&status)
	if err == nil && status.Machine == "" && status.Shares != nil {
		err = errors.New("it is gone, though there are shares")
	}
	if w.rescued = err != nil; w.rescued {
		w.complain("status.machine cannot be read; the rollout pauses with the share it has", err)
		state = rescue(w.object, &w.followed.Plan)
	}
	state.Rewind(time.Now())
	// What is known of endpoints is of the time before: it may be long ago.
	state.Last.Candidate.Known, state.Last.Stable.Known = false, false
	w.state = state
}

// StateOf reads the machine's state in a status; where there is none the rollout has
// not begun.
func StateOf(status *cfv1a1.InferenceRolloutStatus) (*rollout.State, error) {
	state := &rollout.State{}
	if status.Machine == "" {
		return state, nil
	}
	if err := json.Unmarshal([]byte(status.Machine), state); err != nil {
		return nil, fmt.Errorf("status.machine: %w", err)
	}
	return state, nil
}

// unreadable is the reason of the pause of a state that cannot be read.
const unreadable = "UnreadableState"

// rescue makes a state of what gateways serve, paused for a person. It counts as the
// attempt that the plan wants, so that nothing begins by itself.
func rescue(o *cfv1a1.InferenceRollout, plan *rollout.Plan) *rollout.State {
	state := &rollout.State{
		Phase: rollout.Paused, At: time.Now(), Number: o.Status.Attempt, Key: plan.Key(), SpecAttempt: plan.Attempt,
		Stable: plan.Stable, Candidate: plan.Candidate, PlanHash: plan.Hash(),
		Pause: &rollout.Pause{Reason: unreadable, Since: time.Now(), Message: "status.machine cannot be read, so the attempt is not known; the share stays: abort, or promote --full, or mend the text (what is there now is kept until then)"},
	}
	if s := o.Status.Shares; s != nil {
		state.Number, state.Epoch = s.Attempt, s.Epoch
		state.Stable, state.Candidate = translate.SideName(o.Namespace, s.Stable), translate.SideName(o.Namespace, s.Candidate)
		state.Share = rollout.ShareState{Set: rollout.Share(s.Set), Revision: s.Revision, Salt: s.Salt, Verified: s.Verified}
	}
	return state
}
