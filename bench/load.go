//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// stall is how long a run waits for any answer before it gives up.
const stall = 20 * time.Second

// A checker knows the only right answers, one for each group, and counts them.
type checker struct {
	answers [2][]byte
	seen    [2]int
}

// newChecker returns a checker of one target's answers. Without rewriting, the
// engine must have been asked for the client's own model name.
func newChecker(rewrites bool) *checker {
	k := &checker{}
	for i, g := range groups() {
		model := askedModel
		if rewrites {
			model = g.model
		}
		k.answers[i] = answerBody(g.name, model)
	}
	return k
}

func (k *checker) check(r *reply) error {
	if r.status != 200 {
		return fmt.Errorf("status %d: %.200q", r.status, r.body)
	}
	for i := range k.answers {
		if bytes.Equal(r.body, k.answers[i]) {
			k.seen[i]++
			return nil
		}
	}
	return fmt.Errorf("not an answer of the engine: %.200q", r.body)
}

// A load sends one request again and again over a set of connections.
type load struct {
	*connectionSet
	request []byte
	check   *checker
	wrong   int
	first   error // the first of the wrong answers
	// answered is called for each finished request with the instant it was due.
	answered func(due time.Time)
	done     int
}

func newLoad(addr string, connections int, rewrites bool) (*load, error) {
	set, err := connect(addr, connections)
	if err != nil {
		return nil, err
	}
	return &load{connectionSet: set, request: chatRequest(addr, "", false), check: newChecker(rewrites)}, nil
}

// closedLoop sends total requests, a new one on each connection as soon as the last
// is answered, and returns the time it took.
func (l *load) closedLoop(ctx context.Context, total int) (time.Duration, error) {
	l.done = 0
	start, issued := time.Now(), 0
	for _, c := range l.clients[:min(total, len(l.clients))] {
		if err := l.ask(c, start); err != nil {
			return 0, err
		}
		issued++
	}
	heard := start
	for l.done < total {
		ready, err := l.turn(ctx, longestWait, &heard)
		if err != nil {
			return 0, err
		}
		for _, c := range ready {
			if issued < total {
				issued++
				if err := l.ask(c, heard); err != nil {
					return 0, err
				}
			}
		}
	}
	return time.Since(start), nil
}

// paced sends rate requests a second for d, whether or not earlier ones are
// answered. A request that finds no free connection waits, and its wait counts.
func (l *load) paced(ctx context.Context, rate int, d time.Duration) error {
	l.done = 0
	free := append([]*client(nil), l.clients...)
	var due []time.Time
	start := time.Now()
	gap := time.Second / time.Duration(rate)
	total, made := int(d/gap), 0
	heard := start
	for l.done < total {
		now := time.Now()
		for made < total && !start.Add(time.Duration(made)*gap).After(now) {
			due = append(due, now)
			made++
		}
		for len(due) > 0 && len(free) > 0 {
			c := free[len(free)-1]
			free = free[:len(free)-1]
			if err := l.ask(c, due[0]); err != nil {
				return err
			}
			due = due[1:]
		}
		wait := longestWait
		if made < total {
			wait = time.Until(start.Add(time.Duration(made) * gap))
		}
		ready, err := l.turn(ctx, wait, &heard)
		if err != nil {
			return err
		}
		free = append(free, ready...)
	}
	return nil
}

func (l *load) ask(c *client, due time.Time) error {
	c.asked = due
	err := c.ask(l.request)
	if err == nil {
		return nil
	}
	// The target closed an idle connection: a fault to count, and one more try.
	l.fault(err)
	if err := l.redial(c); err != nil {
		return err
	}
	return c.ask(l.request)
}

// turn waits once and returns the clients whose request is finished. heard is the
// instant of the last sign of life; no sign for long is an error.
func (l *load) turn(ctx context.Context, wait time.Duration, heard *time.Time) ([]*client, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	events, err := l.poller.wait(wait)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	if len(events) == 0 {
		if l.waiting() && now.Sub(*heard) > stall {
			return nil, fmt.Errorf("no answer for %s", stall)
		}
		return nil, nil
	}
	*heard = now
	ready := make([]*client, 0, len(events))
	for _, ev := range events {
		c := l.clients[ev.Fd]
		finished, err := l.take(c)
		if err != nil {
			return nil, err
		}
		if finished {
			ready = append(ready, c)
		}
	}
	return ready, nil
}

func (l *load) waiting() bool {
	for _, c := range l.clients {
		if c.busy {
			return true
		}
	}
	return false
}

// take reads from c; finished is true when its request is over, well or badly.
func (l *load) take(c *client) (finished bool, err error) {
	was := c.busy
	err = c.receive(l.buf[:])
	if err == nil && !c.reply.done {
		return false, nil
	}
	if err == nil {
		err = l.check.check(&c.reply)
	}
	closed := err != nil || c.reply.closing
	c.busy = false
	if err != nil {
		l.fault(err)
	}
	if was {
		l.done++
		if l.answered != nil {
			l.answered(c.asked)
		}
	}
	if closed {
		if err := l.redial(c); err != nil {
			return false, err
		}
	}
	if l.wrong > 1000 {
		return false, fmt.Errorf("more than 1000 wrong answers, the first: %w", l.first)
	}
	return was, nil
}

func (l *load) fault(err error) {
	l.wrong++
	if l.first == nil {
		l.first = err
	}
}
