package rollout

import "time"

// abortAlarm is how long after an abort gateways may still send to the candidate
// before a person is alarmed: twice the time in which a share should be in force
// everywhere, and one tick to see it.
const abortAlarm = 10 * time.Second

// abort takes all traffic from the candidate. It has no precondition: not a healthy
// stable version, not a quorum of gateways, not a finished step.
func (m *machine) abort(reason, message, by string) {
	m.leave()
	if m.Phase == Superseded {
		// The next candidate is not wanted either, until somebody retries.
		m.Key, m.Candidate = m.plan.Key(), m.plan.Candidate
	}
	m.finish(Aborted, reason, message, by)
	m.setShare(0)
	m.Phase, m.Pause, m.AbortAlarm = Aborting, nil, false
	m.AbortedKey = m.Key
	if m.PromotedKey == m.Key {
		m.PromotedKey = ""
	}
	if m.plan.Abort.Cancel {
		m.do(Action{Kind: Cancel})
	}
	m.tell("Aborted", "attempt %d: %s", m.Number, message)
}

// trip is a gateway's own breaker: it has already stopped, now all do.
func (m *machine) trip(why string) {
	if why != "" && m.Phase.Running() {
		m.abort("BreakerTripped", why, "")
	}
}

// settleAbort goes from Aborting to Aborted: first the share of 0 is seen to be in
// force, then running requests end or have had their time.
func (m *machine) settleAbort() {
	m.Hold, m.HoldMessage = "", ""
	if !m.Share.Verified {
		m.wait("Verifying", "gateways are to stop sending to %s", m.Candidate)
		if !m.AbortAlarm && m.since(m.Share.Since) >= abortAlarm {
			m.AbortAlarm = true
			m.do(Action{Kind: Alarm, Reason: "AbortNotEffective", Message: m.Candidate + " is still sent requests, or a gateway does not answer: remove it from the route"})
		}
		return
	}
	if left := m.plan.Abort.DrainTimeout - m.since(m.Share.Since); m.Last.Candidate.InFlight > 0 && left > 0 {
		m.wait("Draining", "%d requests of %s run on, for at most %s", m.Last.Candidate.InFlight, m.Candidate, Words(left))
		return
	}
	m.Phase = Aborted
	m.do(Action{Kind: Release, Message: m.Candidate})
}
