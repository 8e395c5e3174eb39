package rollout

import "slices"

// adopt looks at the plan: a new attempt, another candidate, or other steps.
func (m *machine) adopt() {
	key := m.plan.Key()
	switch {
	case m.Phase.Running() && key != m.Key:
		m.supersede()
	case m.Phase.Running() && m.plan.Attempt > m.SpecAttempt:
		m.SpecAttempt = m.plan.Attempt // it is being attempted
	case m.Phase.Running():
		m.followPlan()
	case m.Phase == Promoted && key != m.Key && key != m.PromotedKey:
		m.supersede()
	case m.Phase == "" || m.Phase == Idle || m.Phase == Aborted || m.Phase == Promoted:
		if m.wanted(key) {
			m.start()
		}
	}
}

// wanted reports whether the plan asks for an attempt that has not been made.
// Applying the same object again, whenever, asks for nothing.
func (m *machine) wanted(key string) bool {
	return m.plan.Attempt > m.SpecAttempt || key != m.PromotedKey && key != m.AbortedKey
}

// start begins an attempt. Gateways are told at once: until they hear of a new
// pair of versions they serve the old one.
func (m *machine) start() {
	key := m.plan.Key()
	old := m.State
	m.State = &State{
		Phase: Progressing, At: old.At, Epoch: old.Epoch,
		Number: old.Number + 1, Key: key, SpecAttempt: m.plan.Attempt,
		Stable: m.plan.Stable, Candidate: m.plan.Candidate, Started: old.At,
		PromotedKey: old.PromotedKey,
		PlanHash:    m.plan.Hash(), Steps: append([]PlanStep(nil), m.plan.Steps...),
		Share: ShareState{Revision: old.Share.Revision + 1, Since: old.At, Salt: m.plan.Salt()},
		Last:  Latest{To: old.Last.To}, LastRequest: old.LastRequest, Taken: old.Taken, History: old.History,
	}
	m.actions = slices.Insert(m.actions, 0, Action{Kind: Apply, Share: 0})
	m.tell("Started", "attempt %d: %s replaces %s", m.Number, m.Candidate, m.Stable)
	m.enter(0)
}

// supersede ends an attempt whose candidate, or stable version, is no longer what
// the plan names. Unlike an abort it is in no hurry: traffic goes back to stable
// only when stable can take it.
func (m *machine) supersede() {
	if m.plan.Stable == m.Candidate {
		m.adoptAsStable()
		return
	}
	if m.Share.Set > 0 && !m.stableReady() {
		// Until then all stays as it is, and guarded.
		m.wait("StableCapacity", "%s has %d endpoints ready, too few to take all traffic back before the next attempt", m.Stable, m.Last.Stable.Ready)
		return
	}
	m.leave()
	if m.Phase.Running() {
		m.finish(Superseded, "Superseded", m.plan.Candidate+" is to be rolled out instead", "")
	}
	m.setShare(0)
	m.Phase, m.Pause = Superseded, nil
	m.tell("Superseded", "%s gives way to %s", m.Candidate, m.plan.Candidate)
}

// adoptAsStable takes the candidate of the last attempt for the new stable version,
// as the plan says it is. If that moves traffic to it, it must be able to take it.
func (m *machine) adoptAsStable() {
	if m.Share.Set < Whole && m.allowed(Whole) < Whole {
		return
	}
	if m.Phase.Running() {
		m.leave()
		m.finish(Superseded, "Superseded", m.Candidate+" is the stable version now", "")
	}
	m.start()
}

// stableReady reports whether stable can take all traffic back, and waits if not.
func (m *machine) stableReady() bool {
	if m.plan.Capacity.Off {
		return true
	}
	need := (m.Last.StableAtStart*m.plan.Capacity.MinStablePercent + 99) / 100
	return m.Last.Stable.Known && m.Last.Stable.Ready >= max(need, 1)
}

// followPlan takes over changed steps: those ahead. The current one and its
// beginning stay, so that an edit never repeats or undoes a step.
func (m *machine) followPlan() {
	if hash := m.plan.Hash(); hash != m.PlanHash {
		done := min(m.State.Step+1, len(m.Steps))
		m.Steps = m.Steps[:done]
		if done < len(m.plan.Steps) {
			m.Steps = append(m.Steps, m.plan.Steps[done:]...)
		}
		m.PlanHash, m.Drift = hash, true
		m.tell("PlanDrift", "the plan was changed during the attempt; steps after %d of %d follow the new one", done, len(m.Steps))
	}
}

// finish writes the attempt into the history.
func (m *machine) finish(outcome Phase, reason, message, by string) {
	m.Reason, m.Message, m.By = reason, message, by
	m.Hold, m.HoldMessage = "", ""
	m.History = append(m.History, Record{Number: m.Number, Key: m.Key, Candidate: m.Candidate, Started: m.Started, Ended: m.At,
		Outcome: outcome, Reason: reason, Message: message, By: by, Share: m.Share.Set, Step: min(m.State.Step+1, len(m.Steps))})
	if extra := len(m.History) - m.plan.HistoryLimit; extra > 0 {
		m.History = slices.Delete(m.History, 0, extra)
	}
}

// promote ends an attempt well.
func (m *machine) promote() {
	m.finish(Promoted, "Promoted", m.Candidate+" has all traffic", "")
	m.Phase, m.PromotedKey, m.AbortedKey = Promoted, m.Key, ""
	m.tell("Promoted", "attempt %d: %s", m.Number, m.Message)
}
