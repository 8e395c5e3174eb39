package upstream

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

// A Response is an answer whose head has arrived; reading it reads the body. It must be read to
// its end or closed. One goroutine reads; Close may be called by another.
type Response struct {
	Status        int         // 200 to 999, or 101
	Header        http.Header // end-to-end fields, canonical names, values in order of arrival
	ContentLength int64       // bytes, -1 when the server does not say; for HEAD as declared
	Trailer       http.Header // fields behind a chunked body; valid once Read returned io.EOF

	client     *Client
	conn       *conn
	ctx        context.Context
	stop       func() bool // ends the watch over ctx; nil when there is none
	sender     *sender     // nil when the request left in one write
	buf        *buffer     // bytes that arrived and are not yet used; nil when there are none
	body       body
	wait       wait // for the head
	idle       time.Duration
	heard      bool        // a byte of a response has arrived
	persistent bool        // the connection can serve another request
	released   atomic.Bool // the connection is no longer ours
	err        error       // what Read says from now on
}

const (
	// minDirect is the smallest read that goes past the buffer, straight to the caller's slice.
	minDirect = 512
	// sendGrace is how long a complete answer waits for the rest of its request to be sent, so
	// that the connection can be kept.
	sendGrace = 50 * time.Millisecond
)

var errHijacked = errors.New("connection is hijacked")

// Read reads body bytes, blocking until there are some. All that arrived together comes in one
// Read, as far as p has room, so the caller should pass on what it got at once. The last bytes
// may come together with io.EOF. Any other error is an *Error, or ErrClosed after Close.
func (r *Response) Read(p []byte) (int, error) {
	if r.err != nil || len(p) == 0 {
		return 0, r.err
	}
	if r.released.Load() {
		return 0, ErrClosed
	}
	for !r.body.done() {
		n, err := r.next(p)
		if err != nil {
			r.err = r.fail(OpBody, err)
			return n, r.err
		}
		if n > 0 {
			if !r.body.done() || r.sender != nil {
				return n, nil
			}
			r.complete()
			return n, r.err
		}
	}
	r.complete()
	return 0, r.err
}

// next decodes what is at hand, or else what one read of the connection brings. It may return 0
// and no error.
func (r *Response) next(p []byte) (int, error) {
	if r.buf == nil {
		if len(p) >= minDirect {
			return r.nextDirect(p)
		}
		buf := r.client.reads.get()
		n, err := r.receive(buf.data)
		if n == 0 {
			r.client.reads.put(buf)
			return 0, err
		}
		buf.w, r.buf = n, buf
	}
	n, used, err := r.body.decode(p, r.buf.unread())
	r.buf.r += used
	r.dropBuffer()
	return n, err
}

// nextDirect reads into p and takes the framing off in place, which never needs more room.
func (r *Response) nextDirect(p []byte) (int, error) {
	got, err := r.receive(p)
	if got == 0 {
		return 0, err
	}
	n, used, err := r.body.decode(p, p[:got])
	if used < got {
		r.persistent = false // bytes behind the end belong to no request
	}
	return n, err
}

// receive reads from the connection during the body.
func (r *Response) receive(p []byte) (int, error) {
	n, err := r.conn.read(p, &wait{period: r.idle})
	if n > 0 {
		return n, nil
	}
	if err != io.EOF {
		return 0, err
	}
	if r.body.framing != byClose {
		return 0, io.ErrUnexpectedEOF
	}
	r.body.ended = true
	return 0, nil
}

// dropBuffer gives the buffer back once it is used up.
func (r *Response) dropBuffer() {
	if r.buf != nil && r.buf.r == r.buf.w {
		r.client.reads.put(r.buf)
		r.buf = nil
	}
}

// complete ends an exchange whose body has been read whole.
func (r *Response) complete() {
	r.Trailer = r.body.chunks.fields
	r.err = io.EOF
	r.dropBuffer()
	// Anything left over belongs to no request, and the next one must not take it for its answer.
	keep := r.persistent && r.buf == nil && (r.sender == nil || r.sender.finished(sendGrace))
	r.release(keep)
}

// Close ends the exchange. Before the end of the body it closes the connection at once, so that
// the model server stops generating; after it there is nothing left to do.
func (r *Response) Close() error {
	r.release(false)
	return nil
}

// release gives up the connection, to the pool or for good; only the first call does anything.
func (r *Response) release(keep bool) {
	if !r.released.CompareAndSwap(false, true) {
		return
	}
	if r.stop != nil && !r.stop() {
		keep = false
	}
	if keep {
		r.client.pool.put(r.conn)
		return
	}
	r.conn.close()
	if r.sender != nil {
		r.sender.settle()
	}
}

// fail gives up the connection and says why, naming the first cause rather than its effects.
func (r *Response) fail(op string, err error) error {
	if r.sender != nil {
		// Asked before the connection is closed, which would make a failure of its own.
		op, err = r.sender.cause(op, err, r.heard)
	}
	if r.released.Load() {
		return ErrClosed
	}
	r.release(false)
	e := &Error{Op: op, Addr: r.conn.addr, Reused: r.conn.reused, Err: err}
	e.BeforeFirstByte = !r.heard && op != OpStream
	if ctxErr := r.ctx.Err(); ctxErr != nil {
		e.Err = ctxErr
		return e
	}
	e.Timeout = op != OpStream && isTimeout(err)
	return e
}

// Hijack gives the connection to the caller after a response with Status 101. The reader holds
// what the server has already sent in the new protocol. No deadline is set and the context has
// no more effect.
func (r *Response) Hijack() (net.Conn, *bufio.Reader, error) {
	if r.Status != http.StatusSwitchingProtocols {
		return nil, nil, errors.New("hijack: protocol was not switched")
	}
	if r.sender != nil && !r.sender.finished(0) {
		return nil, nil, errors.New("hijack: request is still being sent")
	}
	if !r.released.CompareAndSwap(false, true) {
		return nil, nil, ErrClosed
	}
	r.err = errHijacked
	if r.stop != nil && !r.stop() {
		r.conn.close()
		return nil, nil, context.Cause(r.ctx)
	}
	if err := r.conn.nc.SetDeadline(time.Time{}); err != nil {
		r.conn.close()
		return nil, nil, err
	}
	early := bytes.Clone(r.buf.unread())
	r.client.reads.put(r.buf)
	r.buf = nil
	if len(early) == 0 {
		return r.conn.nc, bufio.NewReader(r.conn.nc), nil
	}
	return r.conn.nc, bufio.NewReader(io.MultiReader(bytes.NewReader(early), r.conn.nc)), nil
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
