package rollout

import (
	"fmt"
	"slices"
	"time"
)

// Step takes one event to the next state. It changes none of its arguments. The
// caller writes the new state before it carries out any action: shares take effect
// by being in the written state, and actions may be repeated without harm.
//
// The plan is complete and has passed Check. An event of an older leader than the
// state has seen changes nothing.
func Step(plan *Plan, state *State, event Event) (*State, []Action) {
	if event.Epoch != 0 && event.Epoch < state.Epoch {
		return state, nil
	}
	m := &machine{plan: plan, State: state.clone()}
	m.Epoch = max(m.Epoch, event.Epoch)
	if event.At.After(m.At) {
		m.At = event.At
	}
	m.adopt()
	m.observe(event.Observation)
	m.hear(event.Values)
	m.judge()
	m.trip(event.Breaker)
	m.obey(event.Request)
	m.guard()
	m.blocked = event.Blocked
	m.move()
	return m.State, m.actions
}

// machine is one call of Step: the state that is becoming the next one.
type machine struct {
	plan *Plan
	*State
	actions []Action
	blocked string
}

func (m *machine) do(a Action) { m.actions = append(m.actions, a) }

func (m *machine) tell(reason, format string, args ...any) {
	m.do(Action{Kind: Tell, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// since is the time from t to now, 0 for the zero time.
func (m *machine) since(t time.Time) time.Duration {
	if t.IsZero() {
		return 0
	}
	return max(0, m.At.Sub(t))
}

// setShare gives the candidate a share. It goes before all other actions: traffic
// first.
func (m *machine) setShare(share Share) {
	if share == m.Share.Set {
		return
	}
	m.Share = ShareState{Set: share, Revision: m.Share.Revision + 1, Since: m.At, Salt: m.Share.Salt}
	m.actions = slices.Insert(m.actions, 0, Action{Kind: Apply, Share: share})
}

// wait notes what the rollout waits for that may come by itself.
func (m *machine) wait(reason, format string, args ...any) {
	m.Hold, m.HoldMessage = reason, fmt.Sprintf(format, args...)
}

// pause stops for a person.
func (m *machine) pause(p Pause) {
	p.Since = m.At
	m.Pause = &p
	m.Phase = Paused
	m.Hold, m.HoldMessage = "", ""
	m.tell(p.Reason, "paused: %s", p.Message)
}

// current is the step the rollout is in; ok is false when all are done.
func (m *machine) current() (step PlanStep, ok bool) {
	if m.Step >= len(m.Steps) {
		return PlanStep{}, false
	}
	return m.Steps[m.Step], true
}

// enter makes i the current step.
func (m *machine) enter(i int) {
	m.leave()
	m.State.Step, m.StepStarted, m.Watched = i, m.At, 0
	step, ok := m.current()
	if !ok {
		return
	}
	switch step.Kind {
	case Warmup:
		m.Last.Warm, m.Last.WarmSteady = 0, false
		m.do(Action{Kind: StartWarmup, Step: step})
	case Mirror:
		m.do(Action{Kind: StartMirror, Step: step})
	}
}

// leave ends what the current step had started.
func (m *machine) leave() {
	if step, ok := m.current(); ok && !m.StepStarted.IsZero() {
		switch step.Kind {
		case Warmup:
			m.do(Action{Kind: StopWarmup})
		case Mirror:
			m.do(Action{Kind: StopMirror})
		}
	}
}

// phaseOf is the phase in which a step is shown.
func phaseOf(s PlanStep) Phase {
	switch s.Kind {
	case Warmup:
		return Warming
	case Mirror:
		return Shadowing
	case Hold, Analyze:
		return Analyzing
	case Gate:
		return Paused
	case Soak:
		return Soaking
	}
	if s.Share == Whole {
		return Promoting
	}
	return Progressing
}
