//go:build linux

package main

import (
	"strings"
	"testing"
)

// Every way of cutting a response in two must decode to the same payload.
func TestReplyDecodesHoweverItArrives(t *testing.T) {
	for name, tc := range map[string]struct{ wire, body string }{
		"length":   {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello"},
		"empty":    {"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", ""},
		"chunks":   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", "hello"},
		"trailers": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n", "hello"},
	} {
		for cut := range len(tc.wire) {
			var r reply
			err := r.feed([]byte(tc.wire[:cut]))
			if err == nil && r.done {
				t.Fatalf("%s: done after %d of %d bytes", name, cut, len(tc.wire))
			}
			if err == nil {
				err = r.feed([]byte(tc.wire[cut:]))
			}
			if err != nil {
				t.Fatalf("%s cut at %d: %v", name, cut, err)
			}
			if !r.done || string(r.body) != tc.body {
				t.Fatalf("%s cut at %d: done %v, body %q, want %q", name, cut, r.done, r.body, tc.body)
			}
		}
	}
}

func TestReplyIsReusable(t *testing.T) {
	var r reply
	for _, body := range []string{"first", "second"} {
		r.reset()
		if err := r.feed(response("text/plain", []byte(body))); err != nil {
			t.Fatal(err)
		}
		if string(r.body) != body || r.status != 200 {
			t.Errorf("status %d, body %q, want 200 and %q", r.status, r.body, body)
		}
	}
}

func TestReplyRefuses(t *testing.T) {
	for wire, want := range map[string]string{
		"HTTP/1.1 200 OK\r\n\r\n":                                            "neither Content-Length",
		"SSH-2.0-x\r\n\r\n":                                                  "first line",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab":                     "after the end",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n":        "chunk size",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n":  "after a chunk",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHTTP": "after the end",
	} {
		var r reply
		if err := r.feed([]byte(wire)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one with %q", wire, err, want)
		}
	}
}
