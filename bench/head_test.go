//go:build linux

package main

import (
	"bytes"
	"errors"
	"testing"
)

func TestParseHead(t *testing.T) {
	const request = "POST /v1/chat/completions?chunks=2&every=1s HTTP/1.1\r\nHost: a\r\ncontent-LENGTH:  17 \r\nConnection: close\r\n\r\nbody"
	for i := range len(request) - len("body") {
		if _, ok, err := parseHead([]byte(request[:i])); ok || err != nil {
			t.Fatalf("after %d bytes: ok %v, error %v; the head is not complete", i, ok, err)
		}
	}
	h, ok, err := parseHead([]byte(request))
	if !ok || err != nil {
		t.Fatalf("ok %v, error %v", ok, err)
	}
	if h.length != 17 || !h.closing || h.chunked || h.size != len(request)-len("body") {
		t.Errorf("head is %+v", h)
	}
}

func TestParseHeadRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"length that is no number": "HTTP/1.1 200 OK\r\nContent-Length: ten\r\n\r\n",
		"negative length":          "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
		"field without a colon":    "HTTP/1.1 200 OK\r\ncontent-length\r\n\r\n",
	} {
		if _, _, err := parseHead([]byte(in)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, _, err := parseHead(bytes.Repeat([]byte("a"), maxHead+1)); !errors.Is(err, errHeadTooLarge) {
		t.Errorf("endless head: %v", err)
	}
}

func TestStatus(t *testing.T) {
	for line, want := range map[string]int{"HTTP/1.1 200 OK": 200, "HTTP/1.0 503 No": 503, "HTTP/1.1 abc": 0, "SSH-2.0": 0, "": 0} {
		h := head{start: []byte(line)}
		if got := h.status(); got != want {
			t.Errorf("status of %q is %d, want %d", line, got, want)
		}
	}
}

func TestStringField(t *testing.T) {
	for doc, want := range map[string]string{
		`{"model":"bench","stream":false}`: "bench",
		`{"a":1, "model" : "b"}`:           "b",
		`{"model":3}`:                      "",
		`{"model":"cut`:                    "",
		`{}`:                               "",
	} {
		if got := string(stringField([]byte(doc), `"model"`)); got != want {
			t.Errorf("model of %s is %q, want %q", doc, got, want)
		}
	}
}

func TestRequestBodyHas300Bytes(t *testing.T) {
	request := chatRequest("127.0.0.1:80", "", false)
	h, ok, err := parseHead(request)
	if !ok || err != nil {
		t.Fatalf("the harness's own request: ok %v, error %v", ok, err)
	}
	if h.length != 300 || len(request)-h.size != 300 {
		t.Errorf("body has %d bytes, length says %d; the figures are for 300", len(request)-h.size, h.length)
	}
}
