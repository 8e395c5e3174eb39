package modelserver

import (
	"math/rand/v2"
	"time"
)

// task is one kind of question to one endpoint.
type task struct {
	due      time.Time
	failures int // in a row
}

const (
	firstRetry = time.Second
	lastRetry  = 15 * time.Second
)

// done sets the next time after an answer. An interval counts from the time the
// task was due, so that endpoints keep their phases, unless that has passed.
func (t *task) done(interval time.Duration) {
	t.failures = 0
	t.due = t.due.Add(interval)
	if now := time.Now(); t.due.Before(now) {
		t.due = now.Add(rand.N(interval))
	}
}

// failed sets the next time after a failure: a second later, then twice as long
// each time up to most, give or take a fifth.
func (t *task) failed(most time.Duration) {
	wait := most
	if t.failures < 10 {
		wait = min(firstRetry<<t.failures, most)
	}
	t.failures++
	t.due = time.Now().Add(wait*4/5 + rand.N(wait*2/5+1))
}
