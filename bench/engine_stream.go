//go:build linux

package main

import (
	"container/heap"
	"fmt"
	"time"
)

// longestWait bounds every wait, so that loops notice in time that they should stop.
const longestWait = 100 * time.Millisecond

// An engineStream is one answer in the making.
type engineStream struct {
	conn  *engineConn // nil once the peer is gone
	model string
	sent  int
	left  int
	every time.Duration
	due   time.Time
}

// A streamQueue is a heap of streams, the one that owes an event soonest on top.
type streamQueue []*engineStream

func (q streamQueue) Len() int           { return len(q) }
func (q streamQueue) Less(i, j int) bool { return q[i].due.Before(q[j].due) }
func (q streamQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push is heap's.
func (q *streamQueue) Push(x any) { *q = append(*q, x.(*engineStream)) }

// Pop is heap's.
func (q *streamQueue) Pop() any {
	last := len(*q) - 1
	s := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return s
}

// wait is how long nothing is due.
func (q streamQueue) wait(now time.Time) time.Duration {
	if len(q) == 0 {
		return longestWait
	}
	return min(q[0].due.Sub(now), longestWait)
}

func (e *engine) sendDue(now time.Time) {
	for len(e.streams) > 0 && !e.streams[0].due.After(now) {
		s := e.streams[0]
		if s.conn == nil {
			heap.Pop(&e.streams)
			continue
		}
		more := s.left > 1
		if !e.send(s.conn, s.next()) {
			e.drop(s.conn)
			continue // its place expires on the next turn
		}
		if !more {
			s.conn.stream = nil
			heap.Pop(&e.streams)
			continue
		}
		s.due = s.due.Add(s.every)
		heap.Fix(&e.streams, 0)
	}
}

// next is the next event as an HTTP chunk; the last one brings the end of the stream.
func (s *engineStream) next() []byte {
	event := appendEvent(nil, s.conn.on.group, s.model, s.sent)
	s.sent++
	s.left--
	out := fmt.Appendf(nil, "%x\r\n%s\r\n", len(event), event)
	if s.left == 0 {
		out = fmt.Appendf(out, "%x\r\n%s\r\n0\r\n\r\n", len(doneEvent), doneEvent)
	}
	return out
}
