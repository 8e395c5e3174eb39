package upstream

import (
	"context"
	"net"
	"time"
)

// A conn is one connection to an endpoint. It belongs to one exchange or to the pool; only
// close may be called from outside.
type conn struct {
	nc        net.Conn
	raw       *rawConn // nil when nc has no descriptor of its own
	addr      string
	reused    bool
	idleSince time.Time
	// readUntil and writeUntil are the deadlines set on nc; zero means none.
	readUntil, writeUntil time.Time
	// outgoing is the request while it is being sent, out of writes.
	outgoing *buffer
	writes   *bufferPool
	// abort is close as a function value, made once so that watch need not make it.
	abort func()
}

func newConn(nc net.Conn, addr string, writes *bufferPool) *conn {
	c := &conn{nc: nc, addr: addr, writes: writes}
	c.raw = newRawConn(nc, c.sent)
	c.abort = c.close
	return c
}

func (c *conn) close() { c.nc.Close() }

// watch closes the connection when ctx ends. The returned function ends the watch; it reports
// false when the connection has been or is being closed, so that it must not be used again.
func (c *conn) watch(ctx context.Context) (stop func() bool) {
	if ctx.Done() == nil {
		return nil
	}
	return context.AfterFunc(ctx, c.abort)
}

// armRead makes reads fail some time between period and 5/4 period from now; 0 means never.
func (c *conn) armRead(period time.Duration) error {
	until, change := rearm(c.readUntil, period)
	if !change {
		return nil
	}
	c.readUntil = until
	return c.nc.SetReadDeadline(until)
}

// armWrite does the same for writes.
func (c *conn) armWrite(period time.Duration) error {
	until, change := rearm(c.writeUntil, period)
	if !change {
		return nil
	}
	c.writeUntil = until
	return c.nc.SetWriteDeadline(until)
}

// rearm returns the deadline to set, if the one that stands does not do. Setting one costs more
// than reading the clock, so it is set a quarter too far ahead and left alone until that is
// used up: an idle timeout over a stream of tokens is then set a few times a minute, and
// requests that follow each other on a connection share one.
func rearm(until time.Time, period time.Duration) (time.Time, bool) {
	if period <= 0 {
		return time.Time{}, !until.IsZero()
	}
	now := time.Now()
	if left := until.Sub(now); !until.IsZero() && left >= period && left <= period+period/4 {
		return until, false
	}
	return now.Add(period + period/4), true
}

// roundTrip sends request in one write and reads the first bytes of the answer. It takes request
// over and gives it back to the buffers the moment it is sent, so that a long wait for an answer
// holds only the small buffer behind answer. On failure it names the operation that failed.
//
// A failed write alone is no failure of the exchange: a server may answer and close before it
// has read everything, and its answer is then there to be read.
func (c *conn) roundTrip(request *buffer, answer []byte, stall time.Duration) (int, string, error) {
	c.outgoing = request
	defer c.sent()
	wrote := 0
	if c.raw != nil {
		trip := c.raw.roundTrip(request.unread(), answer, c.reused)
		if trip.finished {
			return trip.n, trip.op, trip.err
		}
		wrote = trip.wrote
	}
	if err := c.armWrite(stall); err != nil {
		return 0, OpWrite, err
	}
	_, writeErr := c.nc.Write(request.unread()[wrote:])
	if isTimeout(writeErr) {
		return 0, OpWrite, writeErr
	}
	c.sent()
	n, err := c.nc.Read(answer)
	if n > 0 {
		return n, OpHead, nil
	}
	if writeErr != nil {
		return 0, OpWrite, writeErr
	}
	return 0, OpHead, err
}

// sent gives the buffer of the request back.
func (c *conn) sent() {
	if c.outgoing != nil {
		c.writes.put(c.outgoing)
		c.outgoing = nil
	}
}

// stale says whether an idle connection is known to be of no use: closed by the server, or
// holding bytes that belong to no request. Where that cannot be known it reports false.
func (c *conn) stale() bool { return c.raw != nil && !c.raw.quiet() }
