//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// A reply decodes one HTTP/1.1 response as it arrives.
type reply struct {
	status  int
	closing bool
	body    []byte // payload so far; the reader may cut from its front

	in     []byte // bytes not decoded yet
	headed bool
	left   int // payload bytes missing of the message or of the current chunk
	chunks chunkState
	done   bool
}

type chunkState uint8

const (
	notChunked chunkState = iota
	chunkSize
	chunkData
	chunkEnd
	trailer
)

var errNoLength = errors.New("response has neither Content-Length nor chunks")

// reset makes r ready for the next response, keeping its memory.
func (r *reply) reset() {
	*r = reply{body: r.body[:0], in: r.in[:0]}
}

// feed takes bytes off the wire and adds payload to r.body. After the last byte
// r.done is true; more bytes then are an error, as nothing was asked.
func (r *reply) feed(p []byte) error {
	if r.done {
		return fmt.Errorf("%d bytes after the end of a response", len(p))
	}
	if len(r.in) > 0 {
		r.in = append(r.in, p...)
		p = r.in
	}
	rest, err := r.decode(p)
	if err != nil {
		return err
	}
	if r.done && len(rest) > 0 {
		return fmt.Errorf("%d bytes after the end of a response", len(rest))
	}
	r.in = append(r.in[:0], rest...)
	return nil
}

// decode consumes what it can of p and returns the rest.
func (r *reply) decode(p []byte) ([]byte, error) {
	if !r.headed {
		h, ok, err := parseHead(p)
		if err != nil || !ok {
			return p, err
		}
		if err := r.begin(&h); err != nil {
			return p, err
		}
		p = p[h.size:]
	}
	if r.chunks == notChunked {
		n := min(r.left, len(p))
		r.body = append(r.body, p[:n]...)
		r.left -= n
		r.done = r.left == 0
		return p[n:], nil
	}
	for !r.done {
		rest, moved, err := r.chunk(p)
		if err != nil || !moved {
			return rest, err
		}
		p = rest
	}
	return p, nil
}

func (r *reply) begin(h *head) error {
	r.status, r.closing, r.headed = h.status(), h.closing, true
	switch {
	case r.status == 0:
		return fmt.Errorf("first line of a response is %q", h.start)
	case h.chunked:
		r.chunks = chunkSize
	case h.length < 0:
		return errNoLength
	default:
		r.left = h.length
	}
	return nil
}

// chunk takes one step through a chunked body; moved is false when it needs more bytes.
func (r *reply) chunk(p []byte) (rest []byte, moved bool, err error) {
	if r.chunks == chunkData {
		n := min(r.left, len(p))
		r.body = append(r.body, p[:n]...)
		if r.left -= n; r.left == 0 {
			r.chunks = chunkEnd
		}
		return p[n:], n > 0, nil
	}
	line, rest, ok := bytes.Cut(p, crlf)
	if !ok {
		return p, false, nil
	}
	switch r.chunks {
	case chunkSize:
		n, err := strconv.ParseUint(string(line), 16, 31)
		if err != nil {
			return p, false, fmt.Errorf("chunk size %q", line)
		}
		r.left, r.chunks = int(n), chunkData
		if n == 0 {
			r.chunks = trailer
		}
	case chunkEnd:
		if len(line) > 0 {
			return p, false, fmt.Errorf("%q after a chunk", line)
		}
		r.chunks = chunkSize
	case trailer:
		r.done = len(line) == 0
	}
	return rest, true, nil
}
