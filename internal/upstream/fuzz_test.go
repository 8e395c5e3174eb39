package upstream

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// An outcome is all that a caller gets to know of a response.
type outcome struct {
	Status          int
	Length          int64
	Header, Trailer map[string][]string
	Body, Err       string
	Reusable        bool
}

// outcomeOf reads script as the answer to a request, in reads of at most size bytes from the
// connection and of at most room bytes by the caller.
func outcomeOf(t *testing.T, method, script string, size, room int) outcome {
	c := New(Options{MaxHeaderBytes: 8 << 10, Dial: func(context.Context, string, string) (net.Conn, error) {
		return &scriptConn{script: []byte(script), size: size}, nil
	}})
	defer c.Close()
	resp, err := c.Do(t.Context(), "m:1", &Request{Method: method, Target: "/"})
	if err != nil {
		return outcome{Err: err.Error()}
	}
	o := outcome{Status: resp.Status, Length: resp.ContentLength, Header: resp.Header}
	var body bytes.Buffer
	buf := make([]byte, room)
	for err == nil {
		var n int
		n, err = resp.Read(buf)
		body.Write(buf[:n])
	}
	o.Body, o.Trailer = body.String(), resp.Trailer
	if err != io.EOF {
		o.Err = err.Error()
	}
	o.Reusable = idleConns(c, "m:1") == 1
	return o
}

// FuzzResponse reads arbitrary bytes as a response. However they are cut up, the outcome is the
// same; and what we accept net/http accepts and understands alike.
func FuzzResponse(f *testing.F) {
	for _, seed := range []string{
		emptyOK, tooLarge,
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc",
		"HTTP/1.1 200\r\nset-cookie: a\r\nSet-Cookie: b\r\nX-a-B:\t c \r\n\r\nuntil the end",
		"HTTP/1.1 103 Hint\r\nLink: x\r\n\r\nHTTP/1.1 204 No\r\n\r\n",
		"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nTrailer: A\r\n\r\n3\r\nabc\r\n00a;x=\"y\"\r\n0123456789\r\n0\r\nA: b\r\nHost: c\r\n\r\n",
		"HTTP/1.1 200 OK\r\nConnection: X-a, close\r\nX-A: 1\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nab",
		"HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	} {
		f.Add(false, []byte(seed), uint16(1), uint16(1))
		f.Add(true, []byte(seed), uint16(7), uint16(600))
	}
	f.Fuzz(func(t *testing.T, head bool, script []byte, size, room uint16) {
		method := "GET"
		if head {
			method = "HEAD"
		}
		whole := outcomeOf(t, method, string(script), 0, 64<<10)
		cut := outcomeOf(t, method, string(script), int(size%1000)+1, int(room%1000)+1)
		// What lies behind the end may not have been read yet; the check before the next use
		// sees it.
		cut.Reusable = cut.Reusable && whole.Reusable
		if diff := cmp.Diff(whole, cut); diff != "" {
			t.Errorf("in pieces (-whole +cut):\n%s", diff)
		}
		if whole.Err == "" {
			compareWithNetHTTP(t, method, script, whole)
		}
	})
}

func compareWithNetHTTP(t *testing.T, method string, script []byte, ours outcome) {
	r := bufio.NewReader(bytes.NewReader(script))
	req := &http.Request{Method: method}
	resp, err := http.ReadResponse(r, req)
	for err == nil && resp.StatusCode < 200 {
		resp, err = http.ReadResponse(r, req)
	}
	if err != nil {
		t.Fatalf("net/http refuses the head: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("net/http refuses the body: %v", err)
	}
	got := fmt.Sprintf("%d %q", ours.Status, ours.Body)
	if want := fmt.Sprintf("%d %q", resp.StatusCode, body); got != want {
		t.Errorf("got %s, net/http got %s", got, want)
	}
	if diff := cmp.Diff(endToEndFields(t, script), ours.Header); diff != "" {
		t.Errorf("header (-textproto +ours):\n%s", diff)
	}
	if resp.Close && ours.Reusable {
		t.Error("kept a connection that net/http would close")
	}
}

// endToEndFields reads the fields of the final response by net/textproto and leaves out those
// that are not for the caller. http.ReadResponse would not do: it changes some on its way.
func endToEndFields(t *testing.T, script []byte) map[string][]string {
	r := textproto.NewReader(bufio.NewReader(bytes.NewReader(script)))
	line, err := r.ReadLine()
	fields, err2 := r.ReadMIMEHeader()
	for err == nil && err2 == nil && line[len("HTTP/1.1 ")] == '1' {
		line, err = r.ReadLine()
		fields, err2 = r.ReadMIMEHeader()
	}
	if err != nil || err2 != nil {
		t.Fatalf("net/textproto refuses the head: %v, %v", err, err2)
	}
	for token := range strings.SplitSeq(strings.Join(fields["Connection"], ","), ",") {
		fields.Del(strings.Trim(token, " \t"))
	}
	for _, f := range special {
		if f.role == contentLength && len(fields[f.name]) > 1 {
			fields[f.name] = fields[f.name][:1]
		} else if f.role != contentLength {
			fields.Del(f.name)
		}
	}
	return fields
}

// FuzzChunks feeds well-formed chunked bodies through the decoder in place, cut anywhere.
func FuzzChunks(f *testing.F) {
	f.Add([]byte("hello, world"), uint8(3), uint8(5))
	f.Add(bytes.Repeat([]byte("0\r\n\r\n"), 20), uint8(1), uint8(1))
	f.Fuzz(func(t *testing.T, body []byte, chunk, cut uint8) {
		var wire bytes.Buffer
		for rest := body; len(rest) > 0; {
			n := min(int(chunk)+1, len(rest))
			fmt.Fprintf(&wire, "%X\r\n%s\r\n", n, rest[:n])
			rest = rest[n:]
		}
		wire.WriteString("0\r\n\r\nbehind")
		c := chunks{limit: 100}
		var got []byte
		for src := wire.Bytes(); c.state != chunkDone; {
			p := bytes.Clone(src[:min(int(cut)+1, len(src))])
			n, used, err := c.decode(p, p)
			if err != nil || n > used || used < len(p) && c.state != chunkDone {
				t.Fatalf("decoded %d of %d used of %d: %v", n, used, len(p), err)
			}
			got, src = append(got, p[:n]...), src[used:]
		}
		if !bytes.Equal(got, body) {
			t.Errorf("got %q, want %q", got, body)
		}
	})
}

// FuzzRequest: whatever a caller passes, either nothing is sent or exactly the one request that
// was meant, as a net/http server reads it.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "/v1/chat?x=1", "chat.example", "X-Name", "value", []byte("body"), uint8(0))
	f.Add("GET", "/", "", "content-length", "4", []byte(""), uint8(1))
	f.Add("GET", "/ HTTP/1.1\r\nX: y\r\n", "a\r\nb: c", "A\r\nB", "c\r\n\r\nGET /", []byte("x"), uint8(2))
	f.Add("PUT", "*", "[::1]:80", "Transfer-Encoding ", "chunked", bytes.Repeat([]byte("b"), writeSize), uint8(2))
	f.Fuzz(func(t *testing.T, method, target, host, name, value string, body []byte, form uint8) {
		req := &Request{Method: method, Target: target, Host: host, Header: http.Header{name: {value, value}}}
		switch form % 3 {
		case 0:
			req.Body = [][]byte{body[:len(body)/2], body[len(body)/2:]}
		case 1:
			req.Stream, req.ContentLength = bytes.NewReader(body), int64(len(body))
		case 2:
			req.Stream, req.ContentLength = bytes.NewReader(body), -1
			req.Trailer = http.Header{name: {value}}
		}
		wire, err := written(t, req)
		if err != nil {
			return
		}
		r := bufio.NewReader(strings.NewReader(wire))
		got, gotBody, err := readRequest(r)
		if err != nil {
			if strings.HasSuffix(err.Error(), "invalid URL escape") || strings.HasPrefix(err.Error(), "parse ") {
				return // the target is passed on as given; what its path means is the server's business
			}
			t.Fatalf("wrote %q: %v", wire, err)
		}
		if got.Method != method || got.RequestURI != target || gotBody != string(body) || host != "" && got.Host != host {
			t.Errorf("wrote %q", wire)
		}
		if r.Buffered() > 0 {
			t.Errorf("wrote more than a request: %q", wire)
		}
		for key, values := range got.Header {
			if !strings.EqualFold(key, name) && key != "Content-Length" && key != "Trailer" {
				t.Errorf("wrote %q, read field %q: %q", wire, key, values)
			}
		}
	})
}
