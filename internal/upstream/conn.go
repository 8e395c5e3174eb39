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
	idleSince uint64 // age of the pool when the connection was put there
	// tick is what the read deadline was last moved ahead by; 0 means that there is none.
	tick         time.Duration
	writeLimited bool // there is a write deadline
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

// A wait is one wait for the server, however many reads it takes. It is measured in ticks of a
// quarter of its period: the read deadline stands one tick ahead, is moved on only when it has
// passed, and when that happens for the fifth time within a wait the time is over. So a wait
// ends between its period and a quarter more, and what does not wait long never reads the clock:
// neither the tokens of a stream nor requests that follow each other on a connection.
type wait struct {
	period time.Duration // 0: for ever
	ticks  int
}

const ticksPerWait = 4

// noTick marks a read deadline that others have set.
const noTick = -1

// begin makes the deadline one of w's, if it is not. The one that stands may have been set for
// an earlier wait and pass early; that is why the first tick of a wait does not count.
func (c *conn) begin(w *wait) error {
	if tick := w.period / ticksPerWait; tick != c.tick {
		return c.setTick(tick)
	}
	return nil
}

// over says whether w is over now that the deadline has passed; if not, it moves the deadline on.
func (c *conn) over(w *wait) bool {
	w.ticks++
	return w.ticks > ticksPerWait || c.setTick(w.period/ticksPerWait) != nil
}

func (c *conn) setTick(tick time.Duration) error {
	c.tick = tick
	if tick == 0 {
		return c.nc.SetReadDeadline(time.Time{})
	}
	return c.nc.SetReadDeadline(time.Now().Add(tick))
}

// read reads once, for as long as w lasts.
func (c *conn) read(p []byte, w *wait) (int, error) {
	if err := c.begin(w); err != nil {
		return 0, err
	}
	for {
		n, err := c.nc.Read(p)
		if n > 0 || !isTimeout(err) || c.over(w) {
			return n, err
		}
	}
}

// write writes parts; 0 means that it may take for ever.
func (c *conn) write(timeout time.Duration, parts ...[]byte) error {
	if timeout > 0 || c.writeLimited {
		c.writeLimited = timeout > 0
		var until time.Time
		if timeout > 0 {
			until = time.Now().Add(timeout)
		}
		if err := c.nc.SetWriteDeadline(until); err != nil {
			return err
		}
	}
	batch := net.Buffers(parts)
	_, err := batch.WriteTo(c.nc)
	return err
}

// roundTrip sends request in one write and reads the first bytes of the answer. It takes request
// over and gives it back to the buffers the moment it is sent, so that a long wait for an answer
// holds only the small buffer behind answer. On failure it names the operation that failed.
//
// A failed write alone is no failure of the exchange: a server may answer and close before it
// has read everything, and its answer is then there to be read.
func (c *conn) roundTrip(request *buffer, answer []byte, w *wait) (n int, op string, err error) {
	c.outgoing = request
	defer c.sent()
	if err := c.begin(w); err != nil {
		return 0, OpWrite, err
	}
	trip := c.tripAtOnce(answer, w)
	if trip.finished {
		return trip.n, trip.op, trip.err
	}
	var writeErr error
	if c.outgoing != nil {
		writeErr = c.write(w.period, c.outgoing.unread()[trip.wrote:])
		if isTimeout(writeErr) {
			return 0, OpWrite, writeErr
		}
		c.sent()
	}
	n, err = c.read(answer, w)
	if n == 0 && writeErr != nil {
		return 0, OpWrite, writeErr
	}
	return n, OpHead, err
}

// tripAtOnce goes as far as the round trip gets as one operation on the descriptor.
func (c *conn) tripAtOnce(answer []byte, w *wait) trip {
	if c.raw == nil {
		return trip{}
	}
	for {
		trip := c.raw.roundTrip(c.outgoing.unread(), answer, c.reused)
		if !isTimeout(trip.err) {
			return trip
		}
		if c.over(w) {
			return trip
		}
		if c.outgoing == nil {
			trip.finished = false // sent, and to be waited for some more
			return trip
		}
	}
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
