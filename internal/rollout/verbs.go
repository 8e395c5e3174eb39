package rollout

import (
	"fmt"
	"slices"
)

// maxTaken is how many requests are remembered. Two places may hold one at a time.
const maxTaken = 8

// Took reports whether the request of an ID was taken up, followed or refused.
func (s *State) Took(id string) bool {
	return id != "" && (id == s.LastRequest || slices.Contains(s.Taken, id))
}

// obey follows an operator's request, once, or says why not. A request for another
// attempt than the one under way is refused: its author saw something else.
func (m *machine) obey(r *Request) {
	if r == nil || m.Took(r.ID) {
		return
	}
	m.LastRequest, m.Refused = r.ID, ""
	if r.ID != "" {
		m.Taken = append(m.Taken, r.ID)
		m.Taken = m.Taken[max(0, len(m.Taken)-maxTaken):]
	}
	if err := m.follow(r); err != nil {
		m.Refused = fmt.Sprintf("%s: %v", r, err)
		m.tell("RequestRefused", "%s", m.Refused)
	}
}

func (m *machine) follow(r *Request) error {
	// Who wants to stop need not say what; who wants to go on must.
	anything := r.Attempt == 0 && (r.Verb == VerbAbort || r.Verb == VerbPause)
	if r.Attempt != m.Number && !anything {
		return fmt.Errorf("is for attempt %d, but %d is the latest; look again", r.Attempt, m.Number)
	}
	switch r.Verb {
	case VerbAbort:
		return m.verbAbort(r)
	case VerbUndo:
		if m.Phase != Promoted {
			return fmt.Errorf("the rollout is %s, not promoted; use abort", m.phase())
		}
		m.abort("Undone", r.String(), r.By)
		return nil
	case VerbRetry:
		if m.Phase != Aborted {
			return fmt.Errorf("the rollout is %s; only an aborted one is tried again", m.phase())
		}
		m.start()
		return nil
	}
	if !m.Phase.Running() {
		return fmt.Errorf("the rollout is %s", m.phase())
	}
	switch r.Verb {
	case VerbPause:
		m.pause(Pause{Reason: "Operator", Message: r.String(), By: r.By})
	case VerbResume:
		return m.verbResume(r)
	case VerbPromote:
		return m.verbPromote(r)
	case VerbPromoteFull:
		m.promoteFull(r)
	case VerbSetShare:
		return m.verbSetShare(r)
	default:
		return fmt.Errorf("is no verb; there are pause, resume, promote, promote-full, abort, retry, undo and set-share")
	}
	return nil
}

func (m *machine) phase() Phase {
	if m.Phase == "" {
		return Idle
	}
	return m.Phase
}

func (m *machine) verbAbort(r *Request) error {
	switch m.Phase {
	case Aborting, Aborted:
		return fmt.Errorf("the rollout is %s already", m.Phase)
	case "", Idle:
		return fmt.Errorf("there is no attempt")
	case Promoted:
		m.abort("Undone", r.String(), r.By)
	default:
		m.abort("Operator", r.String(), r.By)
	}
	return nil
}

func (m *machine) verbResume(r *Request) error {
	if m.Pause == nil {
		return fmt.Errorf("the rollout is not paused")
	}
	if m.Pause.Reason == "SpecPaused" {
		return fmt.Errorf("spec.paused is true; set it to false")
	}
	if m.Pause.Reason == "Gate" {
		return fmt.Errorf("it waits at a gate; use promote")
	}
	m.resume()
	m.tell("Resumed", "%s", r)
	return nil
}

// resume goes on with the current step. A guardrail that had asked for the pause is
// not heard again in this attempt (see silenced). The step's time begins anew, so that
// what timed out has another chance.
func (m *machine) resume() {
	if g := m.Pause.Guardrail; g != "" && m.Pause.Reason != "StableDegraded" && !slices.Contains(m.Acknowledged, g) {
		m.Acknowledged = append(m.Acknowledged, g)
	}
	m.Pause = nil
	m.StepStarted = m.At
	m.Phase = Progressing
	m.show()
}

// verbPromote ends the current step, whatever it waits for; shares alone are not
// skipped, because a later one would do in one stride what the plan does in two.
func (m *machine) verbPromote(r *Request) error {
	step, ok := m.current()
	if !ok {
		return fmt.Errorf("the plan has ended; use promote --full, or abort")
	}
	if step.Kind == SetShare {
		return fmt.Errorf("the rollout is at %s, which cannot be skipped; resume, or use promote --full", step)
	}
	if m.plan.Paused {
		return fmt.Errorf("spec.paused is true; set it to false")
	}
	if m.Pause != nil {
		m.resume()
	}
	m.tell("StepEnded", "%s, by %s", step, r)
	m.enter(m.State.Step + 1)
	return nil
}

// promoteFull goes to all traffic at once, as far as capacity allows, then soaks as
// the plan says. Guardrails stay on.
func (m *machine) promoteFull(r *Request) {
	if m.Pause != nil {
		m.resume()
	}
	rest := []PlanStep{{Kind: SetShare, Share: Whole}}
	for _, s := range m.Steps[min(m.State.Step, len(m.Steps)):] {
		if s.Kind == Soak {
			rest = append(rest, s)
		}
	}
	m.leave()
	m.StepStarted = m.At
	m.Steps = append(m.Steps[:min(m.State.Step, len(m.Steps)):min(m.State.Step, len(m.Steps))], rest...)
	m.tell("PromoteFull", "%s", r)
	m.enter(m.State.Step)
}

// verbSetShare gives the candidate the share an operator wants and pauses, so that
// the plan does not go on from there by itself. Lower is allowed here alone.
func (m *machine) verbSetShare(r *Request) error {
	if r.Share < 0 || r.Share > Whole {
		return fmt.Errorf("a share of %s; use 0 to 100", r.Share)
	}
	if r.Share > m.Share.Set && m.allowed(r.Share) < r.Share {
		return fmt.Errorf("%s", m.HoldMessage)
	}
	m.setShare(r.Share)
	m.pause(Pause{Reason: "ManualShare", Message: r.String(), By: r.By})
	return nil
}
