package proxy

import (
	"bytes"
	"strings"
)

// framing follows the requests of one HTTP/1 connection just closely enough to
// know where each head begins, and notes a fault when a head could be framed in
// two ways (RFC 9112 §6.3, §11.2) or when it can no longer follow. It judges
// nothing else: whatever else is wrong, the server finds itself.
type framing struct {
	state    framingState
	requests int64 // heads begun so far; the number of the head being read
	fault    bool

	line    []byte // the start of a line whose end has not come
	first   bool   // the request line is still to come
	old     bool   // not HTTP/1.1
	sized   bool   // Content-Length was seen
	coded   bool   // Transfer-Encoding was seen
	length  int64
	left    int64 // of the body or chunk, in bytes
	trailer bool  // the last chunk has come
}

type framingState uint8

const (
	framingHead  framingState = iota // in a head, or before one
	framingBody                      // in a body of known length
	framingSize                      // in the line before a chunk, or in the trailer
	framingChunk                     // in a chunk
	framingOff                       // nothing is to be followed any more
)

// maxLine bounds the memory for a line; the server's limit on heads is lower or
// will be hit as well.
const maxLine = 1 << 20

// scan follows the next bytes.
func (f *framing) scan(p []byte) {
	for len(p) > 0 && !f.fault && f.state != framingOff {
		switch f.state {
		case framingBody, framingChunk:
			n := min(f.left, int64(len(p)))
			p, f.left = p[n:], f.left-n
			if f.left == 0 {
				f.endData()
			}
		default:
			p = f.scanLine(p)
		}
	}
}

// scanLine takes the next line off p, or what there is of it.
func (f *framing) scanLine(p []byte) []byte {
	if f.requests == 0 || f.state == framingHead && f.first && len(f.line) == 0 {
		if p = bytes.TrimLeft(p, "\r\n"); len(p) == 0 {
			return nil // empty lines before a request are allowed
		}
	}
	if f.requests == 0 {
		f.requests, f.first = 1, true
	}
	i := bytes.IndexByte(p, '\n')
	if i < 0 {
		f.line = append(f.line, p...)
		f.fault = len(f.line) > maxLine
		return nil
	}
	line := p[:i]
	if len(f.line) > 0 {
		f.line = append(f.line, line...)
		line = f.line
	}
	line = bytes.TrimSuffix(line, []byte("\r"))
	if f.state == framingHead {
		f.headLine(line)
	} else {
		f.chunkLine(line)
	}
	f.line = f.line[:0]
	return p[i+1:]
}

func (f *framing) headLine(line []byte) {
	switch {
	case f.first:
		f.first = false
		f.old = !bytes.HasSuffix(line, []byte(" HTTP/1.1"))
		if bytes.Equal(line, []byte("PRI * HTTP/2.0")) {
			f.state = framingOff
		}
	case len(line) == 0:
		f.endHead()
	case line[0] == ' ' || line[0] == '\t':
		f.fault = true // a folded line: obsolete, and read in many ways
	default:
		f.field(line)
	}
}

// field looks at one header field.
func (f *framing) field(line []byte) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case len(name) == len("Content-Length") && strings.EqualFold(string(name), "Content-Length"):
		n, ok := parseDigits(bytes.Trim(value, " \t"), 10)
		if !ok || f.sized && n != f.length {
			f.fault = true
		}
		f.sized, f.length = true, n
	case len(name) == len("Transfer-Encoding") && strings.EqualFold(string(name), "Transfer-Encoding"):
		if f.coded || !strings.EqualFold(string(bytes.Trim(value, " \t")), "chunked") {
			f.fault = true
		}
		f.coded = true
	}
}

func (f *framing) endHead() {
	if f.coded && (f.sized || f.old) {
		f.fault = true
		return
	}
	switch {
	case f.coded:
		f.state, f.trailer = framingSize, false
	case f.length > 0:
		f.state, f.left = framingBody, f.length
	default:
		f.nextHead()
	}
}

func (f *framing) nextHead() {
	f.state, f.first = framingHead, true
	f.requests++
	f.sized, f.coded, f.length = false, false, 0
}

// endData ends a body, or a chunk together with its line end.
func (f *framing) endData() {
	if f.state == framingBody {
		f.nextHead()
		return
	}
	f.state = framingSize
}

func (f *framing) chunkLine(line []byte) {
	if f.trailer {
		if len(line) == 0 {
			f.nextHead()
		}
		return
	}
	size, _, _ := bytes.Cut(line, []byte(";"))
	n, ok := parseDigits(size, 16)
	switch {
	case !ok:
		// The body is garbage, which the server notices too; if it does not, the
		// request that it sees next is not to be trusted.
		f.requests++
		f.fault = true
	case n == 0:
		f.trailer = true
	default:
		f.state, f.left = framingChunk, n+int64(len("\r\n"))
	}
}

// parseDigits parses a length, at most 15 digits long.
func parseDigits(s []byte, base int64) (n int64, ok bool) {
	if len(s) == 0 || len(s) > 15 {
		return 0, false
	}
	for _, c := range s {
		d := int64(99)
		switch {
		case c >= '0' && c <= '9':
			d = int64(c - '0')
		case c >= 'a' && c <= 'f':
			d = int64(c-'a') + 10
		case c >= 'A' && c <= 'F':
			d = int64(c-'A') + 10
		}
		if d >= base {
			return 0, false
		}
		n = n*base + d
	}
	return n, true
}
