package upstream

import (
	"bytes"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

var (
	errBareEnd     = protocolError("line does not end in CRLF")
	errHeadTooLong = protocolError("response head over the limit")
)

// A head is a parsed response head.
type head struct {
	status    int
	minor     int         // of the version, HTTP/1.minor
	header    http.Header // end-to-end fields only
	length    int64       // Content-Length, or unknownLength
	chunked   bool
	close     bool // Connection: close
	keepAlive bool // Connection: keep-alive
	nominated []string
}

// A headScan looks for the end of a head in bytes that arrive piece by piece. Its lines must
// end in CRLF: a reader that accepts less can be made to see another head than its neighbour.
type headScan struct {
	at    int // bytes looked at, up to the start of a line
	lines int // complete lines before at, the status line among them
}

// end returns the length of the head including its empty line, or 0 when it is not all there.
func (s *headScan) end(b []byte) (int, error) {
	for {
		i := bytes.IndexByte(b[s.at:], '\n')
		if i < 0 {
			return 0, nil
		}
		if i == 0 || b[s.at+i-1] != '\r' {
			return 0, errBareEnd
		}
		s.at += i + 1
		if i == 1 {
			return s.at, nil
		}
		s.lines++
	}
}

// parseHead parses a head of which text holds the given number of lines, without the empty one.
func parseHead(text string, lines int) (head, error) {
	h := head{length: unknownLength}
	line, rest, ok := strings.Cut(text, "\r\n")
	if !ok {
		return h, protocolError("malformed status line")
	}
	if err := h.parseStatus(line); err != nil {
		return h, err
	}
	block := newFieldBlock(lines - 1)
	for rest != "" {
		name, value, next, err := cutField(rest)
		if err != nil {
			return h, err
		}
		if err := h.apply(name, value, &block); err != nil {
			return h, err
		}
		rest = next
	}
	h.header = block.header
	h.dropNominated()
	return h, h.checkFraming()
}

// parseStatus parses "HTTP/1.1 200 OK"; the reason may be empty, and its space missing.
func (h *head) parseStatus(line string) error {
	const version, code = len("HTTP/1."), len("HTTP/1.1 ")
	if len(line) < code+3 || line[:version] != "HTTP/1." || !isDigit(line[version]) ||
		line[code-1] != ' ' || len(line) > code+3 && line[code+3] != ' ' {
		return protocolError("malformed status line")
	}
	for _, c := range []byte(line[code : code+3]) {
		if !isDigit(c) {
			return protocolError("malformed status code")
		}
		h.status = 10*h.status + int(c-'0')
	}
	if h.status < 100 {
		return protocolError("malformed status code")
	}
	if !httpguts.ValidHeaderFieldValue(line[code+3:]) {
		return protocolError("control character in status line")
	}
	h.minor = int(line[version] - '0')
	return nil
}

// apply takes one field into account and keeps it if it is for the caller.
func (h *head) apply(name fieldName, value string, block *fieldBlock) error {
	switch name.role {
	case contentLength:
		return h.applyLength(value, block)
	case transferEncoding:
		// Any other coding would have to be undone here; none was asked for.
		if h.chunked || !strings.EqualFold(value, "chunked") {
			return protocolError("unsupported Transfer-Encoding")
		}
		h.chunked = true
	case connection:
		h.applyConnection(value)
	case upgrade:
		if h.status == http.StatusSwitchingProtocols {
			block.add(name.name, value)
		}
	case endToEnd:
		block.add(name.name, value)
	}
	return nil
}

// applyLength accepts a repeated Content-Length only if it says the same every time, and passes
// on only one (RFC 9110 section 8.6).
func (h *head) applyLength(value string, block *fieldBlock) error {
	length, ok := parseLength(value)
	switch {
	case !ok:
		return protocolError("malformed Content-Length")
	case h.length == unknownLength:
		h.length = length
		block.add("Content-Length", value)
	case h.length != length:
		return protocolError("conflicting Content-Length fields")
	}
	return nil
}

func (h *head) applyConnection(value string) {
	for token := range strings.SplitSeq(value, ",") {
		switch token = strings.Trim(token, " \t"); {
		case strings.EqualFold(token, "close"):
			h.close = true
		case strings.EqualFold(token, "keep-alive"):
			h.keepAlive = true
		case token != "" && !strings.EqualFold(token, "Upgrade"):
			h.nominated = append(h.nominated, token)
		}
	}
}

// dropNominated removes the fields that Connection declares to be for this hop.
func (h *head) dropNominated() {
	for _, name := range h.nominated {
		h.header.Del(name)
	}
}

// checkFraming refuses a head from which two readers could take two lengths.
func (h *head) checkFraming() error {
	switch {
	case h.chunked && h.length != unknownLength:
		return protocolError("both Transfer-Encoding and Content-Length")
	case h.chunked && h.minor == 0:
		return protocolError("Transfer-Encoding in an HTTP/1.0 response")
	}
	return nil
}

// persistent says whether the server means to keep the connection.
func (h *head) persistent() bool {
	return !h.close && (h.minor > 0 || h.keepAlive)
}

// body returns how the body of a response to method is framed (RFC 9112 section 6.3).
func (h *head) body(method string, limit int) body {
	switch {
	case method == http.MethodHead, h.status < 200, h.status == http.StatusNoContent,
		h.status == http.StatusNotModified:
		return body{framing: byLength}
	case h.chunked:
		return body{framing: byChunks, chunks: chunks{limit: limit}}
	case h.length != unknownLength:
		return body{framing: byLength, left: h.length}
	}
	return body{framing: byClose}
}

// parseLength parses 1*DIGIT; signs, blanks and lists are not lengths.
func parseLength(s string) (int64, bool) {
	const digits = 18 // always fits
	if s == "" || len(s) > digits {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if !isDigit(s[i]) {
			return 0, false
		}
		n = 10*n + int64(s[i]-'0')
	}
	return n, true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
