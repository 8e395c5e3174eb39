package warmup

import (
	"math/rand/v2"
	"time"
)

// What steady means.
const (
	faster  = 0.8 // of what the same request took before: the endpoint still warms up
	steadys = 3   // comparisons in a row that show nothing of the kind
	enough  = 20  // further answers after which the rest is taken for jitter
)

// course is one endpoint's way through the requests.
type course struct {
	good     int
	next     int                   // request to be sent, from the first again after the last
	last     map[int]time.Duration // what each took when it was last sent
	compared int                   // comparisons in a row without a gain
	// completions says that the endpoint knows no chat; tooLong, if not 0, is the
	// first of the built-in requests that it refuses.
	completions bool
	tooLong     int
	serial      int // of built-in prompts
}

// newCourse begins with a serial of its own: other gateways warm up the same
// endpoint, and a prompt that it has seen costs it nothing.
func newCourse() *course {
	return &course{last: map[int]time.Duration{}, serial: rand.IntN(1 << 30)}
}

// answered notes a good answer to a request.
func (c *course) answered(request int, took time.Duration) {
	c.good++
	if before, ok := c.last[request]; ok {
		c.compared++
		if float64(took) < faster*float64(before) {
			c.compared = 0
		}
	}
	c.last[request] = took
}

// steady reports that the latency falls no more, or that enough were answered after
// the wanted ones and those that had nothing to be compared with.
func (c *course) steady(wanted int) bool {
	return c.compared >= steadys || c.good >= max(wanted, len(c.last))+enough
}
