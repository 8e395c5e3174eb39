package rollout

import (
	"fmt"
	"time"
)

// move goes on as far as the plan and the verdicts allow.
func (m *machine) move() {
	switch m.Phase {
	case Aborting:
		m.settleAbort()
		return
	case Superseded:
		m.settleSupersede()
		return
	}
	if !m.Phase.Running() {
		return
	}
	if m.plan.Key() != m.Key {
		return // supersede has said what it waits for
	}
	m.Hold, m.HoldMessage = "", ""
	m.followSpecPause()
	if m.Pause != nil {
		return
	}
	if m.blocked != "" {
		m.wait("NotAccepted", "%s", m.blocked)
		return
	}
	if m.overdue() {
		return
	}
	m.show()
	if m.blind() {
		return
	}
	// Each step is entered at most once; the loop ends where one has to wait.
	for m.Pause == nil && m.Phase.Running() {
		step, ok := m.current()
		if !ok {
			m.end()
			return
		}
		m.show()
		if !m.done(step) {
			return
		}
		m.enter(m.State.Step + 1)
	}
}

// blind reports whether gateways' counts are missing: then nothing goes on, and
// nothing is undone.
func (m *machine) blind() bool {
	switch old := max(time.Minute, 6*m.plan.Analysis.Tick); {
	case len(m.Last.Missing) > 0:
		m.wait("MissingGateway", "without the counts of %s nothing is decided", m.Last.Missing[0])
		return true
	case !m.Last.To.IsZero() && m.since(m.Last.To) > old:
		m.wait("NoObservations", "gateways have told nothing for %s", Words(m.since(m.Last.To)))
		return true
	}
	return false
}

// show gives the phase its name by the current step.
func (m *machine) show() {
	if step, ok := m.current(); ok {
		m.Phase = phaseOf(step)
	}
}

// followSpecPause pauses and resumes as spec.paused says.
func (m *machine) followSpecPause() {
	switch {
	case m.plan.Paused && m.Pause == nil:
		m.pause(Pause{Reason: "SpecPaused", Message: "spec.paused is true"})
	case !m.plan.Paused && m.Pause != nil && m.Pause.Reason == "SpecPaused":
		m.resume()
	}
}

// totalDeadline is the reason of a pause that is asked for once only: resuming a
// step restarts its own deadline, but not that of the attempt.
const totalDeadline = "TotalDeadline"

// overdue pauses an attempt or a step that takes longer than its deadline.
func (m *machine) overdue() bool {
	switch {
	case m.plan.TotalDeadline > 0 && m.since(m.Started) >= m.plan.TotalDeadline && !m.acknowledged(totalDeadline):
		m.pause(Pause{Reason: totalDeadline, Guardrail: totalDeadline, Message: "the attempt has taken " + Words(m.since(m.Started))})
	case m.plan.StepDeadline > 0 && m.since(m.StepStarted) >= m.plan.StepDeadline:
		m.pause(Pause{Reason: "StepDeadline", Message: "the step has taken " + Words(m.since(m.StepStarted))})
	default:
		return false
	}
	return true
}

// end is after the last step.
func (m *machine) end() {
	if m.Share.Set == Whole {
		m.promote()
		return
	}
	m.pause(Pause{Reason: "PlanEnded", Message: fmt.Sprintf("the plan ends at %s; promote --full or abort", m.Share.Set)})
}

// settleSupersede begins the next attempt once the last one has no traffic.
func (m *machine) settleSupersede() {
	if !m.Share.Verified {
		m.wait("Verifying", "gateways are to stop sending to %s", m.Candidate)
		return
	}
	if !m.wanted(m.plan.Key()) {
		m.Phase = Idle
		return
	}
	m.start()
}

// done reports whether a step is; while it is not, the reason is noted.
func (m *machine) done(step PlanStep) bool {
	switch step.Kind {
	case Warmup:
		return m.warm(step)
	case Mirror:
		return m.mirrored(step)
	case SetShare:
		return m.shared(step)
	case Hold, Analyze:
		return m.analyzed(step)
	case Gate:
		return m.passed(step)
	case Soak:
		if m.Watched < step.Min {
			m.wait("Soaking", "%s more", Words(step.Min-m.Watched))
			return false
		}
		return true
	}
	m.pause(Pause{Reason: "UnknownStep", Message: fmt.Sprintf("a step of kind %q is not known to this version", step.Kind)})
	return false
}

func (m *machine) warm(step PlanStep) bool {
	switch {
	case m.Last.Warm >= step.Requests && m.Last.WarmSteady && len(m.Last.NoModel) == 0:
		return true
	case step.Max > 0 && m.since(m.StepStarted) >= step.Max:
		m.pause(Pause{Reason: "WarmupTimeout", Message: fmt.Sprintf("%s is not warm after %s", m.Candidate, Words(step.Max))})
	case len(m.Last.NoModel) > 0:
		m.waitForModel()
	default:
		m.wait("Warming", "%d of %d requests at every endpoint", min(m.Last.Warm, step.Requests), step.Requests)
	}
	return false
}

func (m *machine) waitForModel() {
	m.wait("ModelMissing", "%d endpoints of %s do not serve the model, the first is %s", len(m.Last.NoModel), m.Candidate, m.Last.NoModel[0])
}

func (m *machine) mirrored(step PlanStep) bool {
	pairs := int64(0)
	for _, b := range m.Books {
		pairs = max(pairs, b.Pairs.Total())
	}
	if pairs >= step.Pairs {
		return true
	}
	m.wait("Mirroring", "%d of %d pairs", pairs, step.Pairs)
	return m.late(step) && m.insufficient("pairs of mirrored answers")
}

// shared raises the share to the step's, as far as capacity allows, and waits until
// it is in force. A share is raised only when the one before is in force, and one
// at or above the step's is left alone.
func (m *machine) shared(step PlanStep) bool {
	switch {
	case !m.Share.Verified:
		// Also that of none at the beginning: all gateways know the candidate, and
		// send nothing, before any sends something.
		m.wait("Verifying", "gateways are to send %s to %s", m.Share.Set, m.Candidate)
		return false
	case step.Share <= m.Share.Set:
		return true
	case len(m.Last.NoModel) > 0:
		m.waitForModel()
		return false
	}
	if to := m.allowed(step.Share); to > m.Share.Set {
		m.setShare(to)
		m.wait("Verifying", "gateways are to send %s to %s", m.Share.Set, m.Candidate)
	}
	return false
}

// passed is a gate: a person's, or one of time.
func (m *machine) passed(step PlanStep) bool {
	if step.Min == 0 {
		m.pause(Pause{Reason: "Gate", Message: "waiting for promote"})
		return false
	}
	if left := step.Min - m.since(m.StepStarted); left > 0 {
		m.wait("Waiting", "%s more", Words(left))
		return false
	}
	return true
}

// late reports whether the step's time is over.
func (m *machine) late(step PlanStep) bool {
	return step.Max > 0 && m.since(m.StepStarted) >= step.Max
}
