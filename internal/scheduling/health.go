package scheduling

import "time"

const (
	firstEjection   = time.Second
	longestEjection = 30 * time.Second
	// trustedAfter is how many good answers in a row end the probation after
	// an ejection.
	trustedAfter = 5
)

// health ejects an endpoint that fails: for a second, for twice as long each
// time it fails again, at most 30 s. Then it is on probation: it may have one
// request at a time, and twice as many after each good answer.
type health struct {
	failures int       // ejections since it was last trusted
	answers  int       // good answers since the last ejection
	until    time.Time // end of the last ejection
}

// fail records a failure. Failures during an ejection do not count: requests
// that were in flight together fail together.
func (h *health) fail(at time.Time) {
	if at.Before(h.until) {
		return
	}
	wait := longestEjection
	if h.failures < 5 {
		wait = min(wait, firstEjection<<h.failures)
	}
	h.failures++
	h.answers = 0
	h.until = at.Add(wait)
}

// answer records a good answer. Those during an ejection were asked for before
// it and prove nothing.
func (h *health) answer(at time.Time) {
	if h.failures == 0 || at.Before(h.until) {
		return
	}
	h.answers++
	if h.answers == trustedAfter {
		*h = health{}
	}
}

// ejected reports whether an endpoint with that many requests in flight should
// have no further one.
func (h *health) ejected(at time.Time, inFlight int) bool {
	if h.failures == 0 {
		return false
	}
	return at.Before(h.until) || inFlight >= 1<<h.answers
}
