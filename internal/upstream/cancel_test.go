package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
)

// cancelOnRead ends a context at the start of its nth Read, which then blocks.
type cancelOnRead struct {
	net.Conn
	n      int
	cancel func()
}

func (c *cancelOnRead) Read(p []byte) (int, error) {
	if c.n--; c.n == 0 {
		c.cancel()
	}
	return c.Conn.Read(p)
}

// TestCancel ends the context in each phase. The exchange ends at once with the context's error
// and the server sees its connection close.
func TestCancel(t *testing.T) {
	large := strings.Repeat("x", 64<<20)
	phases := map[string]struct {
		request *Request
		answer  string
		read    int // the read in which the context ends; 0: when the server has read the head
		op      string
		before  bool
	}{
		"large body blocked": {request: post(large), op: OpWrite, before: true},
		"stream blocked": {request: &Request{Method: "POST", Target: "/", Stream: strings.NewReader(large), ContentLength: -1},
			op: OpWrite, before: true},
		"waiting in one operation": {request: post("x"), op: OpHead, before: true},
		"waiting for head":         {request: post("x"), read: 1, op: OpHead, before: true},
		"half a head":              {request: post("x"), answer: "HTTP/1.1 200 OK\r\n", read: 2, op: OpHead},
		"body": {request: post("x"), answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
			read: 2, op: OpBody},
	}
	for name, phase := range phases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			closed := make(chan struct{})
			addr := listen(t, func(_ int, nc net.Conn) {
				r := bufio.NewReader(nc)
				http.ReadRequest(r)
				io.WriteString(nc, phase.answer)
				if phase.read == 0 {
					cancel()
				}
				<-closed
				if _, err := io.Copy(io.Discard, r); errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error("the connection was left open")
				}
			})
			c := newClient(t, Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				nc, err := new(net.Dialer).DialContext(ctx, network, addr)
				if phase.read > 0 {
					nc = &cancelOnRead{nc, phase.read, cancel}
				}
				return nc, err
			}})
			resp, err := c.Do(ctx, addr, phase.request)
			if err == nil {
				defer resp.Close()
				_, err = io.ReadAll(resp)
			}
			close(closed)
			e := asError(t, err)
			if !errors.Is(e, context.Canceled) || e.Op != phase.op || e.BeforeFirstByte != phase.before || e.Timeout {
				t.Errorf("error %+v", e)
			}
		})
	}
}

func TestCancelDial(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := newClient(t, Options{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	for range 2 { // the second time, it has ended before
		_, err := c.Do(ctx, "m:1", get("/"))
		if e := asError(t, err); e.Op != OpDial || e.Timeout || !errors.Is(e, context.Canceled) {
			t.Errorf("error %+v", e)
		}
	}
}

// TestCancelAfterEnd: once the body has been read, the context is nobody's concern.
func TestCancelAfterEnd(t *testing.T) {
	addr := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na")
	c := newClient(t, Options{})
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		resp, err := c.Do(ctx, addr, get("/"))
		if err != nil {
			t.Fatal(err)
		}
		if n, err := resp.Read(make([]byte, 10)); n != 1 || err != io.EOF {
			t.Errorf("read %d, %v", n, err)
		}
		cancel()
		resp.Close()
		if n := idleConns(c, addr); n != 1 {
			t.Errorf("%d connections kept", n)
		}
	}
}

// TestClose before the end of the body: the server's next read ends, and so does a Read that is
// under way.
func TestClose(t *testing.T) {
	closed := make(chan struct{})
	addr := listen(t, func(_ int, nc net.Conn) {
		r := bufio.NewReader(nc)
		readRequest(r)
		io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
		io.Copy(io.Discard, r)
		close(closed)
	})
	c := newClient(t, Options{})
	resp, err := c.Do(t.Context(), addr, get("/"))
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1000)
	if n, err := resp.Read(buf); n != 1 || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
	go func() { resp.Close() }()
	if _, err := resp.Read(buf); err != ErrClosed {
		t.Errorf("read during Close: %v", err)
	}
	<-closed
	resp.Close()
	if _, err := resp.Read(buf); err != ErrClosed {
		t.Errorf("read after Close: %v", err)
	}
	if n := idleConns(c, addr); n != 0 {
		t.Errorf("%d connections kept", n)
	}
}
