//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// maxHead bounds a message head; the programs under test send far less.
const maxHead = 16 << 10

var (
	crlf      = []byte("\r\n")
	blankLine = []byte("\r\n\r\n")

	errHeadTooLarge = errors.New("message head over 16 KiB")
)

// A head is what the harness needs of an HTTP/1.1 message head.
type head struct {
	start   []byte // first line
	size    int    // bytes up to and with the blank line
	length  int    // Content-Length, -1 without
	chunked bool
	closing bool // Connection: close
}

// parseHead reads the head at the start of buf; ok is false while it is incomplete.
func parseHead(buf []byte) (h head, ok bool, err error) {
	end := bytes.Index(buf, blankLine)
	if end < 0 {
		if len(buf) > maxHead {
			return h, false, errHeadTooLarge
		}
		return h, false, nil
	}
	h = head{size: end + len(blankLine), length: -1}
	line, rest, _ := bytes.Cut(buf[:end], crlf)
	h.start = line
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, crlf)
		if err := h.field(line); err != nil {
			return h, false, err
		}
	}
	return h, true, nil
}

func (h *head) field(line []byte) error {
	// Of all field names only two matter, and both begin with these letters.
	if len(line) < 11 || (line[0]|0x20 != 'c' && line[0]|0x20 != 't') {
		return nil
	}
	name, value, ok := bytes.Cut(line, []byte(":"))
	if !ok {
		return fmt.Errorf("header line %q has no colon", line)
	}
	value = bytes.TrimSpace(value)
	switch {
	case bytes.EqualFold(name, []byte("content-length")):
		n, err := strconv.Atoi(string(value))
		if err != nil || n < 0 {
			return fmt.Errorf("content-length %q", value)
		}
		h.length = n
	case bytes.EqualFold(name, []byte("transfer-encoding")):
		h.chunked = bytes.EqualFold(value, []byte("chunked"))
	case bytes.EqualFold(name, []byte("connection")):
		h.closing = bytes.EqualFold(value, []byte("close"))
	}
	return nil
}

// status is the status code of a response's first line, 0 if there is none.
func (h *head) status() int {
	if len(h.start) < 12 || !bytes.HasPrefix(h.start, []byte("HTTP/1.")) {
		return 0
	}
	n, err := strconv.Atoi(string(h.start[9:12]))
	if err != nil {
		return 0
	}
	return n
}

// stringField returns the value after "name": in a flat JSON text that the harness
// or its engine wrote. It is no JSON parser and need not be one.
func stringField(doc []byte, key string) []byte {
	i := bytes.Index(doc, []byte(key))
	if i < 0 {
		return nil
	}
	rest := bytes.TrimLeft(doc[i+len(key):], " :")
	if len(rest) == 0 || rest[0] != '"' {
		return nil
	}
	end := bytes.IndexByte(rest[1:], '"')
	if end < 0 {
		return nil
	}
	return rest[1 : 1+end]
}
