package proxy

import (
	"net/http"
	"time"
)

// write sends bytes of the answer's body to the client and reports whether that
// worked.
func (x *exchange) write(p []byte) bool {
	if len(p) == 0 {
		return true
	}
	watched := x.flushing || x.reply.length > bulkBuffer
	if watched {
		x.armWrite()
	}
	n, err := x.w.Write(p)
	x.visit.Outcome.BytesOut += int64(n)
	if err == nil && x.flushing {
		err = x.flush()
	}
	if watched {
		x.disarmWrite()
	}
	return err == nil
}

func (x *exchange) flush() error { return http.NewResponseController(x.w).Flush() }

// armWrite makes writes fail that wait too long for a client which does not take
// what it is sent. Moving a deadline costs a timer, so it is moved only when a
// quarter of the period is used up.
func (x *exchange) armWrite() {
	period := x.proxy.timeouts.ClientRead
	now := time.Now()
	if period <= 0 || x.writeUntil.Sub(now) > period-period/4 {
		return
	}
	x.writeUntil = now.Add(period)
	_ = http.NewResponseController(x.w).SetWriteDeadline(x.writeUntil)
}

// disarmWrite takes the deadline away where it would strike between writes too: on
// HTTP/2 it resets the stream, and a stream may be silent for as long as its engine.
func (x *exchange) disarmWrite() {
	if x.r.ProtoMajor >= 2 && !x.writeUntil.IsZero() {
		x.writeUntil = time.Time{}
		_ = http.NewResponseController(x.w).SetWriteDeadline(time.Time{})
	}
}

// rearmEnd makes sure that the server, which writes the end of the answer when the
// handler has returned, does not find a deadline that passed in the meantime.
func (x *exchange) rearmEnd() {
	if !x.writeUntil.IsZero() {
		x.armWrite()
	}
}
