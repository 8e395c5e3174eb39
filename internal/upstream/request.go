package upstream

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/net/http/httpguts"
)

// A Request is one request to one endpoint. Do does not change it. Body and its parts must stay
// unchanged until the Response has been read to its end or closed, or Do has failed.
type Request struct {
	Method string // any token but CONNECT
	Target string // origin form (path?query) or "*", written as given
	Host   string // value of the Host field; empty means the endpoint's address

	// Header holds end-to-end fields. The caller has removed hop-by-hop ones; those that frame
	// the message or steer the connection (Content-Length, Transfer-Encoding, Connection, Host
	// and their like) are written by this package alone and ignored here.
	Header http.Header

	// Body is a body held in memory, in parts; it can be sent again. Nil means none.
	Body [][]byte

	// Stream is a body that is read once, while it is sent; Body is empty then. One Read of it
	// may still be under way when Do has failed or the Response was closed.
	Stream io.Reader
	// ContentLength is the length of Stream in bytes, -1 for unknown (sent in chunks). A Stream
	// that ends early is an error; what it holds beyond its length is not read.
	ContentLength int64
	// Trailer is sent after a Stream of unknown length. Its names must be present when Do is
	// called; the values are read when the Stream has ended.
	Trailer http.Header

	// FirstByteTimeout bounds the wait for the response head, counted from the end of the
	// request, and any one wait for the endpoint to take more of a large body. The timeout
	// strikes between this time and a quarter more. 0 means none.
	FirstByteTimeout time.Duration
	// IdleTimeout bounds the wait for more of the response body, in the same way.
	IdleTimeout time.Duration

	// Upgrade asks to switch to the protocol that Header names in Upgrade.
	Upgrade bool

	// Informational is called for each 1xx response other than 101, within Do. May be nil.
	Informational func(status int, header http.Header)
}

// unknownLength marks a body whose end is found only when it is reached.
const unknownLength = -1

// size returns the length of the request's body in bytes, or unknownLength.
func (r *Request) size() int64 {
	if r.Stream != nil {
		return r.ContentLength
	}
	var total int64
	for _, part := range r.Body {
		total += int64(len(part))
	}
	return total
}

// replayable says whether the body can be sent a second time.
func (r *Request) replayable() bool { return r.Stream == nil }

// check refuses what could not be written as one well-formed request head; appendHead checks
// the header fields while it writes them.
func (r *Request) check() error {
	switch {
	case !httpguts.ValidHeaderFieldName(r.Method) || r.Method == http.MethodConnect:
		return fmt.Errorf("method %q cannot be sent", r.Method)
	case !validTarget(r.Target):
		return errors.New("target is not a path in origin form")
	case !httpguts.ValidHostHeader(r.Host):
		return fmt.Errorf("host %q is malformed", r.Host)
	case r.Stream != nil && len(r.Body) > 0:
		return errors.New("both Body and Stream are set")
	case r.Stream != nil && r.ContentLength < unknownLength:
		return fmt.Errorf("content length %d is negative", r.ContentLength)
	case r.Upgrade && r.Header.Get("Upgrade") == "":
		return errors.New("upgrade without an Upgrade field")
	}
	return nil
}

// validTarget keeps out what would end the request line early; bytes above 0x7f pass, since
// clients send them raw and the target is written as given.
func validTarget(target string) bool {
	if target == "" || target[0] != '/' && target != "*" {
		return false
	}
	for i := range len(target) {
		if target[i] <= ' ' || target[i] == 0x7f {
			return false
		}
	}
	return true
}
