//go:build unix

package upstream

import (
	"io"
	"net"
	"os"
	"syscall"
)

// A rawConn does a whole round trip as one wait on the connection's descriptor.
//
// The usual write-then-read begins each wait with a read that finds nothing yet. Here that read
// happens before the write, where its finding nothing proves something: the server has neither
// closed the idle connection nor sent bytes that belong to no request. It is safe to wait right
// after the write without trying to read first, because the runtime's readiness flag is cleared
// when the operation begins, before that read: what arrives after it sets the flag anew.
type rawConn struct {
	rc   syscall.RawConn
	step func(fd uintptr) bool // r.advance, made once
	sent func()                // called when the request is written

	stage     rawStage
	out, in   []byte
	checked   bool
	trip      trip
	checkOnly bool
	probe     [1]byte
}

type rawStage uint8

const (
	rawCheck rawStage = iota
	rawWrite
	rawRead
)

// A trip is how a round trip went.
type trip struct {
	finished bool   // n, op and err hold; if false, wrote bytes are written and nothing is read
	wrote, n int    // bytes of the request and of the answer
	op       string // the operation that err is about
	err      error
}

// newRawConn returns nil when nc has no descriptor.
func newRawConn(nc net.Conn, sent func()) *rawConn {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return nil
	}
	r := &rawConn{rc: rc, sent: sent}
	r.step = r.advance
	return r
}

// roundTrip writes out and waits for the first bytes of the answer. When the kernel does not
// take all of out at once it stops there, unfinished. With check it refuses a stale connection
// before anything is written. A fresh connection must not be checked but read right after the
// write: a server may already have refused it, and that would not wake the wait.
func (r *rawConn) roundTrip(out, in []byte, check bool) trip {
	r.stage, r.checked, r.checkOnly = rawWrite, check, false
	if check {
		r.stage = rawCheck
	}
	r.out, r.in, r.trip = out, in, trip{op: OpHead}
	err := r.rc.Read(r.step)
	r.out, r.in = nil, nil
	if err != nil {
		return trip{finished: true, op: OpHead, err: err}
	}
	return r.trip
}

// quiet says whether the connection is open and has nothing to read.
func (r *rawConn) quiet() bool {
	r.stage, r.checkOnly, r.trip = rawCheck, true, trip{}
	err := r.rc.Read(r.step)
	return err == nil && r.trip.err == nil
}

// advance goes as far as it can without waiting; it reports false to be called again when the
// descriptor is readable.
func (r *rawConn) advance(fd uintptr) bool {
	if r.stage == rawCheck {
		if _, err := readFD(fd, r.probe[:]); err != syscall.EAGAIN {
			return r.finish(0, OpWrite, errStale)
		}
		if r.checkOnly {
			return true
		}
	}
	var writeErr error
	if r.stage != rawRead {
		r.trip.wrote, writeErr = writeFD(fd, r.out)
		if writeErr == nil && r.trip.wrote < len(r.out) {
			return true
		}
		r.stage = rawRead
		r.sent()
		if r.checked && writeErr == nil {
			return false
		}
	}
	n, err := readFD(fd, r.in)
	switch {
	case n > 0:
		return r.finish(n, OpHead, nil)
	case writeErr != nil:
		return r.finish(0, OpWrite, os.NewSyscallError("write", writeErr))
	case err == syscall.EAGAIN:
		return false
	case err != nil:
		return r.finish(0, OpHead, os.NewSyscallError("read", err))
	}
	return r.finish(0, OpHead, io.EOF)
}

func (r *rawConn) finish(n int, op string, err error) bool {
	r.trip.finished, r.trip.n, r.trip.op, r.trip.err = true, n, op, err
	return true
}

// readFD reads once; it returns 0 and no error at the end of the stream.
func readFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Read(int(fd), p)
		if err != syscall.EINTR {
			return max(n, 0), err
		}
	}
}

// writeFD writes once; a full send buffer is no error.
func writeFD(fd uintptr, p []byte) (int, error) {
	for {
		n, err := syscall.Write(int(fd), p)
		switch err {
		case syscall.EINTR:
		case syscall.EAGAIN:
			return 0, nil
		default:
			return max(n, 0), err
		}
	}
}
