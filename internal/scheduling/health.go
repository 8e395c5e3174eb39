package scheduling

const (
	firstEjection   = 1.0 // seconds
	longestEjection = 30.0
	// trustedAfter is how many good answers in a row end a probation.
	trustedAfter = 5
)

// health ejects an endpoint that fails: for a second, for twice as long each
// time it fails again, at most 30 s. Then it is on probation: it may have one
// request at a time, and twice as many after each good answer. So is one that
// joins a pool at work: it may still be warming up, and with nothing to do and
// an empty cache it would be given all there is.
type health struct {
	probation bool
	failures  int     // ejections since it was last trusted
	answers   int     // good answers since the last ejection
	until     float64 // end of the last ejection
}

// fail records a failure and reports whether it ejects. Failures during an
// ejection do not count: requests that were in flight together fail together.
func (h *health) fail(at float64) bool {
	if h.failures > 0 && at < h.until {
		return false
	}
	wait := longestEjection
	if h.failures < 5 {
		wait = min(wait, firstEjection*float64(int(1)<<h.failures))
	}
	h.probation = true
	h.failures++
	h.answers = 0
	h.until = at + wait
	return true
}

// answer records a good answer. Those during an ejection were asked for before
// it and prove nothing.
func (h *health) answer(at float64) {
	if !h.probation || at < h.until {
		return
	}
	h.answers++
	if h.answers == trustedAfter {
		*h = health{}
	}
}

// ejected reports whether an endpoint with that many requests in flight should
// have no further one.
func (h *health) ejected(at, inFlight float64) bool {
	if !h.probation {
		return false
	}
	return at < h.until || inFlight >= float64(int(1)<<h.answers)
}
