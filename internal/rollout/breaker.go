package rollout

import "fmt"

// Limits of the breaker.
const (
	breakerRun    = 10 // failures in a row
	breakerWindow = 20 // requests looked back on
)

// Breaker is what one gateway watches by itself, request by request: it stops a
// candidate that is out before any counter is read. It looks at failures before the
// first byte, of both arms: what fails everywhere, or half as often at stable, is not the
// candidate's fault, or is for the counters to judge. The
// zero value is ready. It is a value for one goroutine at a time.
type Breaker struct {
	run     int // candidate's failures in a row
	arms    [2]recent
	tripped string
}

// recent are the last outcomes of one arm, newest in the lowest bit.
type recent struct {
	bits uint32
	n    int
}

func (r *recent) add(failed bool) {
	r.bits <<= 1
	if failed {
		r.bits |= 1
	}
	r.n = min(r.n+1, breakerWindow)
}

// failures is how many of the last outcomes failed.
func (r *recent) failures() (n int) {
	for i := range r.n {
		n += int(r.bits >> i & 1)
	}
	return n
}

// half reports whether at least half of at least n outcomes failed.
func (r *recent) half(n int) bool { return r.n >= n && 2*r.failures() >= r.n }

// twice reports whether failures are more than twice as frequent as among other's,
// which is not asked when those are few.
func (r *recent) twice(other *recent) bool {
	return other.n < breakerRun || r.failures()*other.n > 2*other.failures()*r.n
}

// Record takes one outcome. It returns why the candidate must get no more requests,
// "" while it may; once tripped it stays so, until Reset.
func (b *Breaker) Record(candidate, failed bool) string {
	if b.tripped != "" {
		return b.tripped
	}
	if !candidate {
		b.arms[1].add(failed)
		return ""
	}
	b.arms[0].add(failed)
	b.run++
	if !failed {
		b.run = 0
	}
	switch {
	case !failed || b.arms[1].half(breakerRun):
	case b.run >= breakerRun:
		b.tripped = fmt.Sprintf("%d requests in a row failed before their first byte", b.run)
	case b.arms[0].half(breakerWindow) && b.arms[0].twice(&b.arms[1]):
		b.tripped = fmt.Sprintf("at least half of the last %d requests failed before their first byte", breakerWindow)
	}
	return b.tripped
}

// Reset makes the breaker as new, for another attempt.
func (b *Breaker) Reset() { *b = Breaker{} }
