package conductor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
)

// step brings the machine all there is to tell, and again while there are requests.
func (w *worker) step(ctx context.Context, r *rollout.Reading) {
	for ctx.Err() == nil && w.followed != nil && !w.gone {
		if w.state == nil {
			w.load()
		}
		if !w.once(ctx, r) || w.request() == nil {
			return
		}
		r = nil
	}
}

// once makes one step and reports whether it has happened.
func (w *worker) once(ctx context.Context, r *rollout.Reading) bool {
	plan := &w.followed.Plan
	values, upTo := w.providers.fresh()
	event := w.event(r, values)
	next, actions := rollout.Step(plan, w.state, event)
	if next == w.state {
		w.complain("a newer leader has written the status; this one changes nothing", nil)
		return false
	}
	about := w.current()
	about.Generation = w.followed.Generation // what the status is about
	status, err := StatusOf(about, plan, next)
	if err != nil {
		w.complain("the status cannot be made", err)
		return false
	}
	pending := w.rescued && next.Pause != nil && next.Pause.Reason == unreadable
	if pending {
		status.Machine = w.status.Machine // until a person has decided
	}
	if w.mustWrite(next, &status, actions) {
		if !w.write(ctx, &status) {
			return false
		}
		w.status = &status
	}
	w.state, w.failed = next, false
	w.rescued = pending
	if r != nil {
		base := *r
		if w.base != nil {
			base = w.base.Base(*r)
		}
		w.base = &base
	}
	w.providers.given(upTo)
	w.tell(actions)
	w.ask(ctx)
	return true
}

// event is all that is new to the machine.
func (w *worker) event(r *rollout.Reading, values []rollout.Value) rollout.Event {
	e := rollout.Event{At: time.Now(), Epoch: w.c.o.Epoch(), Request: w.request(), Values: values}
	if w.blocked {
		e.Blocked = "the rollout is not accepted: see its condition Accepted"
	}
	if r != nil {
		e.Breaker = r.Breaker(w.followed.Plan.Name, w.state.Number)
		if w.base != nil {
			e.Observation = r.Observe(*w.base, w.followed.Plan.Name, w.state.Number)
		}
	}
	return e
}

// current is the object with the status that w.state belongs to.
func (w *worker) current() *cfv1a1.InferenceRollout {
	o := *w.object
	if w.status != nil {
		o.Status = *w.status
		o.Status.Request = w.object.Status.Request
		o.Status.Conditions = keepOthers(w.status.Conditions, w.object.Status.Conditions)
	}
	return &o
}

// write writes the status and reports whether that worked.
func (w *worker) write(ctx context.Context, status *cfv1a1.InferenceRolloutStatus) bool {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	base := w.current()
	next := *base
	next.Status = *status
	switch err := w.c.o.Store.Write(ctx, base, &next); {
	case err == nil:
		w.wrote, w.complaint = time.Now(), ""
		return true
	case errors.Is(err, ErrGone):
		w.gone = true
	case errors.Is(err, ErrStale):
		w.forget()
		w.failed = true
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled): // stopping
	default:
		w.failed = true
		w.complain("the status cannot be written, so nothing goes on; it is tried again", err)
	}
	return false
}

// forget drops what is in memory, for the object's status to be taken.
func (w *worker) forget() {
	w.state, w.status, w.base, w.rescued = nil, nil, nil, false
}

// mustWrite reports whether a step is worth a write: always when anything is to be
// done or shown, now and then while only counts and instants have moved, and never
// when those move while nothing is under way.
func (w *worker) mustWrite(next *rollout.State, status *cfv1a1.InferenceRolloutStatus, actions []rollout.Action) bool {
	switch {
	case len(actions) > 0 || w.status == nil || next.LastRequest != w.state.LastRequest:
		return true
	case !Alike(status, w.status):
		return true
	case next.Phase.Running() || !w.resting():
		return time.Since(w.wrote) >= writeEvery
	}
	return false
}

// Alike reports whether two statuses differ in nothing but counts, instants and
// words, which move all the time, and what others write.
func Alike(a, b *cfv1a1.InferenceRolloutStatus) bool { return text(essence(a)) == text(essence(b)) }

func essence(s *cfv1a1.InferenceRolloutStatus) any {
	e := *s
	e.Machine, e.Message, e.Observed, e.Verdicts, e.Request = "", "", "", nil, nil
	if s.Shares != nil {
		shares := *s.Shares
		shares.Observed = nil
		e.Shares = &shares
	}
	e.Conditions = nil
	conditions := ""
	for _, c := range keepOthers(s.Conditions, nil) {
		conditions += fmt.Sprintln(c.Type, c.Status, c.Reason, c.ObservedGeneration)
	}
	return []any{e, conditions}
}

func text(v any) string {
	out, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain values
	}
	return string(out)
}

// tell tells people what a step has decided. What gateways are to do stands in the
// status.
func (w *worker) tell(actions []rollout.Action) {
	for _, a := range actions {
		switch a.Kind {
		case rollout.Tell, rollout.Alarm:
			w.c.o.Teller.Tell(w.object, a.Reason, a.Message, a.Kind == rollout.Alarm)
		case rollout.Release:
			w.c.o.Teller.Tell(w.object, "CandidateReleased", a.Message+" carries nothing any more and may be scaled down", false)
		}
	}
}

// complain logs what goes wrong, once until it is something else.
func (w *worker) complain(message string, err error) {
	line := message
	if err != nil {
		line += ": " + err.Error()
	}
	if line == w.complaint {
		return
	}
	w.complaint = line
	w.c.o.Log.Error(message, "rollout", w.object.Namespace+"/"+w.object.Name, "error", err)
}
