package rollout

import "time"

// Due is what a rollout will do by itself.
type Due struct {
	// At is the earliest instant; the zero time: that cannot be said. Instants move
	// away while observations are missing, since steps are measured in observed time.
	At time.Time
	// What it is, "" for nothing: a person has to act, or all is over.
	What string
}

// due returns the next thing that happens by itself. What guardrails may do at any
// instant is not in it.
func (m *machine) due() Due {
	if m.Phase == Aborting && m.Hold == "Draining" {
		return Due{m.Share.Since.Add(m.plan.Abort.DrainTimeout), "aborted"}
	}
	step, ok := m.current()
	if !ok || !m.Phase.Running() || m.Pause != nil || m.plan.Key() != m.Key {
		return Due{}
	}
	next := Due{m.ends(step), m.after()}
	if next.At.IsZero() {
		next = m.gives(step)
	}
	if d := m.deadline(); !d.IsZero() && (next.At.IsZero() || d.Before(next.At)) {
		return Due{d, "paused at its deadline"}
	}
	return next
}

// ends is when a step that is measured by time alone ends, as far as can be said.
func (m *machine) ends(step PlanStep) time.Time {
	switch {
	case step.Kind == Gate && step.Min > 0:
		return m.StepStarted.Add(step.Min)
	case (step.Kind == Hold || step.Kind == Analyze || step.Kind == Soak) && m.Watched < step.Min:
		return m.At.Add(step.Min - m.Watched)
	}
	return time.Time{}
}

// gives is when a step gives up what it waits for, and what follows.
func (m *machine) gives(step PlanStep) Due {
	at := m.StepStarted.Add(step.Max)
	switch {
	case step.Max <= 0:
		return Due{What: m.after()}
	case step.Kind == Warmup:
		return Due{at, "paused unless it is warm"}
	case step.Kind == Analyze && m.Hold == "Inconclusive":
		return Due{at, m.after() + ", even without proof"}
	case m.Hold != "InsufficientData" && m.Hold != "Mirroring":
		return Due{What: m.after()}
	}
	switch m.plan.Analysis.OnInsufficient {
	case PolicyExtend:
		return Due{What: m.after()}
	case PolicyProceedUnpowered:
		return Due{at, m.after() + ", even with too little data"}
	case PolicyAbort:
		return Due{at, "abort for lack of data"}
	}
	return Due{at, "paused for lack of data"}
}

// after is what follows the current step.
func (m *machine) after() string {
	if next := m.State.Step + 1; next < len(m.Steps) {
		return m.Steps[next].String()
	}
	if step, _ := m.current(); m.Share.Set == Whole || step.Share == Whole {
		return "promoted"
	}
	return "paused where the plan ends"
}

// deadline is the earliest of those of the step and the attempt.
func (m *machine) deadline() (at time.Time) {
	if m.plan.StepDeadline > 0 {
		at = m.StepStarted.Add(m.plan.StepDeadline)
	}
	if m.plan.TotalDeadline > 0 && !m.acknowledged(totalDeadline) {
		if d := m.Started.Add(m.plan.TotalDeadline); at.IsZero() || d.Before(at) {
			at = d
		}
	}
	return at
}

// next says what comes next by itself, or who has to do what.
func (m *machine) next() string {
	switch {
	case m.Pause != nil:
		return m.Pause.Reason + ": " + m.Pause.Message
	case m.Hold != "":
		return m.Hold + ": " + m.HoldMessage
	case m.Phase.Running():
		return "goes on with the next observation"
	case m.Message != "":
		return m.Message
	}
	return ""
}

// reason is next in one word, "" where it goes on.
func (m *machine) reason() string {
	switch {
	case m.Pause != nil:
		return m.Pause.Reason
	case m.Hold != "":
		return m.Hold
	case m.Phase.Running():
		return ""
	}
	return m.Reason
}
