package proxy

import (
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// An upload is a request body that is forwarded while it arrives. Another
// goroutine reads it than the exchange's, perhaps after the exchange is over.
type upload struct {
	body  io.Reader
	limit int64       // in bytes; 0: none
	copy  *mirrorBody // keeps what is read for mirrors; nil: there is none

	read  atomic.Int64 // bytes so far
	begun atomic.Bool  // Read was called: the body cannot be sent to anyone else
	ended atomic.Bool  // all of it has been read
	fault atomic.Pointer[error]
}

// streamBody makes the body a stream. There is no limit to one, for it takes no
// memory, unless someone set one.
func (x *exchange) streamBody() *refusal {
	r := x.r
	if !hasBody(r) {
		return nil
	}
	if x.rule.Picked() {
		return x.hold() // an external picker sees all of it before it is sent
	}
	limit := x.visit.Listener.MaxBodyBytes
	if limit > 0 && r.ContentLength > limit {
		return tooLarge(x.limit())
	}
	x.upload = &upload{body: r.Body, limit: limit}
	if r.ProtoMajor == 1 {
		// Without it net/http's server would read the rest of the body before it writes
		// the answer, while the engine may not take the rest before its answer is read.
		// Servers that never did so do not know the call.
		_ = http.NewResponseController(x.w).EnableFullDuplex()
	}
	return nil
}

// lingerTime is how long a client may go on sending a body that nobody wants any
// more, so that it reads its answer instead of an error on its connection.
const lingerTime = 500 * time.Millisecond

// leaveBody bounds the reading of what the server reads off the connection when
// nobody here has read the body to its end. Call it before the answer's head is
// written.
func (x *exchange) leaveBody() {
	if hasBody(x.r) && !x.bodyEnded() {
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(lingerTime))
	}
}

func (x *exchange) bodyEnded() bool { return x.ended || x.upload != nil && x.upload.ended.Load() }

// closeUpload ends the reading of a streamed body, whoever is reading it. With full
// duplex, net/http leaves that to the handler (golang.org/issue/68560).
func (x *exchange) closeUpload() {
	if x.upload == nil || x.r.ProtoMajor != 1 {
		return
	}
	if !x.bodyEnded() && !x.aborted {
		_ = x.flush()
		x.leaveBody()
	} else if !x.bodyEnded() {
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Unix(1, 0))
	}
	_ = x.r.Body.Close()
}

// Read returns errTooLarge past the limit. Its error other than io.EOF is kept.
func (u *upload) Read(p []byte) (int, error) {
	u.begun.Store(true)
	n, err := u.body.Read(p)
	if total := u.read.Add(int64(n)); u.limit > 0 && total > u.limit {
		err = errTooLarge
	}
	if u.copy != nil {
		u.copy.add(p[:n])
	}
	switch {
	case err == io.EOF:
		u.ended.Store(true)
	case err != nil:
		u.fault.Store(&err)
	}
	return n, err
}

// failure is the error the client's side of the body ended with, nil for none.
func (u *upload) failure() error {
	if u == nil {
		return nil
	}
	if err := u.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// consumed reports whether the body cannot be sent again.
func (u *upload) consumed() bool { return u != nil && u.begun.Load() }
