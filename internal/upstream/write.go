package upstream

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// appendHead appends the request's head up to and including its empty line. size is the body's
// length as of Request.size. The request has passed check.
func appendHead(b []byte, req *Request, addr string, size int64) ([]byte, error) {
	b = append(b, req.Method...)
	b = append(b, ' ')
	b = append(b, req.Target...)
	b = append(b, " HTTP/1.1\r\nHost: "...)
	if req.Host == "" {
		b = append(b, addr...)
	} else {
		b = append(b, req.Host...)
	}
	b = append(b, "\r\n"...)
	b, err := appendFields(b, req.Header)
	if err != nil {
		return b, err
	}
	if req.Upgrade {
		value := req.Header.Get("Upgrade")
		if !httpguts.ValidHeaderFieldValue(value) {
			return b, fmt.Errorf("value of header field %q is malformed", "Upgrade")
		}
		b = append(b, "Connection: Upgrade\r\n"...)
		b = appendField(b, "Upgrade", value)
	}
	b, err = appendFraming(b, req, size)
	return append(b, "\r\n"...), err
}

// appendFields appends every field that is not this package's own business. A malformed name
// or value is an error: written, it could end the head early and smuggle a second request.
func appendFields(b []byte, fields http.Header) ([]byte, error) {
	for name, values := range fields {
		if ownField(name) {
			continue
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return b, fmt.Errorf("header field name %q is malformed", name)
		}
		for _, value := range values {
			if !httpguts.ValidHeaderFieldValue(value) {
				return b, fmt.Errorf("value of header field %q is malformed", name)
			}
			b = appendField(b, name, value)
		}
	}
	return b, nil
}

func appendField(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

// appendFraming appends the fields that say where the body ends.
func appendFraming(b []byte, req *Request, size int64) ([]byte, error) {
	switch {
	case size == unknownLength:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
		return appendTrailerNames(b, req.Trailer)
	case size > 0 || req.Stream != nil || expectsBody(req.Method):
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, size, 10)
		b = append(b, "\r\n"...)
	}
	return b, nil
}

// appendTrailerNames announces the trailer fields that will follow the last chunk.
func appendTrailerNames(b []byte, trailer http.Header) ([]byte, error) {
	separator := "Trailer: "
	for name := range trailer {
		if ownField(name) {
			continue
		}
		if !httpguts.ValidHeaderFieldName(name) {
			return b, fmt.Errorf("trailer field name %q is malformed", name)
		}
		b = append(b, separator...)
		b = append(b, name...)
		separator = ", "
	}
	if separator == ", " {
		b = append(b, "\r\n"...)
	}
	return b, nil
}

// expectsBody says whether a method without a body should still send Content-Length: 0
// (RFC 9110 section 8.6).
func expectsBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// ownField names, in any case, the fields that frame the message or steer the connection. They
// are told apart by length first because this runs for every field of every request.
func ownField(name string) bool {
	switch len(name) {
	case 2:
		return strings.EqualFold(name, "TE")
	case 4:
		return strings.EqualFold(name, "Host")
	case 7:
		return strings.EqualFold(name, "Upgrade") || strings.EqualFold(name, "Trailer")
	case 10:
		return strings.EqualFold(name, "Connection") || strings.EqualFold(name, "Keep-Alive")
	case 14:
		return strings.EqualFold(name, "Content-Length")
	case 16:
		return strings.EqualFold(name, "Proxy-Connection")
	case 17:
		return strings.EqualFold(name, "Transfer-Encoding")
	}
	return false
}
