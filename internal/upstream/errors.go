package upstream

import (
	"errors"
	"fmt"
)

// What Do or Read was doing when an Error happened (Error.Op).
const (
	// OpRequest is the check of the request; nothing was sent and no endpoint would do better.
	OpRequest = "request"
	// OpDial is connecting.
	OpDial = "dial"
	// OpWrite is sending the request.
	OpWrite = "write"
	// OpStream is reading Request.Stream: the fault lies with the body's source, not with Addr.
	OpStream = "stream"
	// OpHead is waiting for and parsing the response head.
	OpHead = "head"
	// OpBody is reading the response body.
	OpBody = "body"
)

// ErrClosed is what Read reports after Close.
var ErrClosed = errors.New("response is closed")

// errStale says that an idle connection was closed by the server or holds bytes that belong to
// no request; it was found before anything of the new request was written.
var errStale = errors.New("idle connection is stale")

// An Error is a failed exchange with one endpoint. When the context ended first, Err is the
// context's error, so errors.Is(err, context.Canceled) tells a client that left from a server
// that failed.
type Error struct {
	Op   string // one of the Op constants
	Addr string // the endpoint, ip:port
	// BeforeFirstByte says that no byte of a response had arrived, so that another endpoint
	// may be tried. It is false for OpRequest and OpStream, where that would not help.
	BeforeFirstByte bool
	Reused          bool // the connection had served a request before
	Timeout         bool // one of our own timeouts passed; not the context's deadline
	Err             error
}

// Error names the operation, the endpoint and the cause.
func (e *Error) Error() string {
	return fmt.Sprintf("upstream %s %s: %v", e.Op, e.Addr, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// A protocolError is a response that RFC 9112 does not allow, or that passes a limit.
type protocolError string

func (e protocolError) Error() string { return string(e) }
