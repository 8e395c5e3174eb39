//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// A streamLoad holds many streams open and checks each event that arrives.
type streamLoad struct {
	*connectionSet
	models  [2]string // the model each group must name
	next    []int     // number of the next event, by client
	events  int
	scratch []byte
}

// openStreams starts n streams, evenly spread over one interval so that their
// events do not fall together, and returns once each has brought its first event.
func openStreams(ctx context.Context, addr string, n int, every time.Duration, rewrites bool) (*streamLoad, error) {
	set, err := connect(addr, n)
	if err != nil {
		return nil, err
	}
	l := &streamLoad{connectionSet: set, next: make([]int, n)}
	for i, g := range groups() {
		l.models[i] = askedModel
		if rewrites {
			l.models[i] = g.model
		}
	}
	// Far more events than any run waits for: the harness ends streams by closing.
	request := chatRequest(addr, fmt.Sprintf("?chunks=1000000&every=%s", every), true)
	gap := min(every, time.Second) / time.Duration(n)
	start := time.Now()
	for i, c := range l.clients {
		if err := c.ask(request); err != nil {
			return nil, closeAfter(err, l)
		}
		if err := l.run(ctx, time.Until(start.Add(time.Duration(i+1)*gap))); err != nil {
			return nil, closeAfter(err, l)
		}
	}
	for deadline := time.Now().Add(stall); l.silent() > 0; {
		if time.Now().After(deadline) {
			return nil, closeAfter(fmt.Errorf("%d of %d streams brought no event in %s", l.silent(), n, stall), l)
		}
		if err := l.run(ctx, 10*time.Millisecond); err != nil {
			return nil, closeAfter(err, l)
		}
	}
	return l, nil
}

// closeAfter keeps the cause: a failure to close adds nothing to it.
func closeAfter(err error, l *streamLoad) error {
	_ = l.close()
	return err
}

// silent counts the streams that have brought no event yet.
func (l *streamLoad) silent() int {
	n := 0
	for _, next := range l.next {
		if next == 0 {
			n++
		}
	}
	return n
}

// run receives events for d. A wrong event or a broken stream is an error: a run
// with one has no figures worth keeping.
func (l *streamLoad) run(ctx context.Context, d time.Duration) error {
	for end := time.Now().Add(d); ; {
		left := time.Until(end)
		if left <= 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		ready, err := l.poller.wait(min(left, longestWait))
		if err != nil {
			return err
		}
		for _, ev := range ready {
			if err := l.take(l.clients[ev.Fd]); err != nil {
				return fmt.Errorf("stream %d, event %d: %w", ev.Fd, l.next[ev.Fd], err)
			}
		}
	}
}

func (l *streamLoad) take(c *client) error {
	if err := c.receive(l.buf[:]); err != nil {
		return err
	}
	if c.reply.headed && c.reply.status != 200 {
		return fmt.Errorf("status %d: %.200q", c.reply.status, c.reply.body)
	}
	body := c.reply.body
	for {
		end := bytes.Index(body, []byte("\n\n"))
		if end < 0 {
			break
		}
		if err := l.check(c.id, body[:end+2]); err != nil {
			return err
		}
		body = body[end+2:]
	}
	c.reply.body = c.reply.body[:copy(c.reply.body, body)]
	if c.reply.done {
		return errClosedEarly
	}
	return nil
}

func (l *streamLoad) check(id int, event []byte) error {
	for i, g := range groups() {
		l.scratch = appendEvent(l.scratch[:0], g.name, l.models[i], l.next[id])
		if bytes.Equal(event, l.scratch) {
			l.next[id]++
			l.events++
			return nil
		}
	}
	return fmt.Errorf("wrong event: %.300q", event)
}
