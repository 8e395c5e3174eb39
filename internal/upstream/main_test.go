package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit bounds what must not hang; nothing here takes anywhere near as long.
const limit = 20 * time.Second

// listen serves each connection by handle, in its own goroutine, and waits for all of them when
// the test ends. n counts connections from 0.
func listen(t testing.TB, handle func(n int, nc net.Conn)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(limit))
				handle(n, nc)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		wg.Wait()
	})
	return l.Addr().String()
}

// readRequest takes one request off the connection and returns it with its body.
func readRequest(r *bufio.Reader) (*http.Request, string, error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return nil, "", err
	}
	body, err := io.ReadAll(req.Body)
	return req, string(body), err
}

// answering is a server that answers every request on every connection with the same bytes.
func answering(t testing.TB, answer string) (addr string) {
	return listen(t, func(_ int, nc net.Conn) {
		r := bufio.NewReader(nc)
		for {
			if _, _, err := readRequest(r); err != nil {
				return
			}
			if _, err := io.WriteString(nc, answer); err != nil {
				return
			}
		}
	})
}

// newClient returns a Client that is closed when the test ends, before its servers are.
func newClient(t testing.TB, opts Options) *Client {
	c := New(opts)
	t.Cleanup(c.Close)
	return c
}

func get(target string) *Request { return &Request{Method: "GET", Target: target, Host: "model"} }

func post(body string) *Request {
	return &Request{Method: "POST", Target: "/v1/chat/completions", Host: "model", Body: [][]byte{[]byte(body)}}
}

// fetch sends req and reads the whole response.
func fetch(t testing.TB, c *Client, addr string, req *Request) (*Response, string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	resp, err := c.Do(ctx, addr, req)
	if err != nil {
		t.Fatalf("Do: %v", err)
	}
	defer resp.Close()
	body, err := io.ReadAll(resp)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	return resp, string(body)
}

// failure sends req, expects it to fail in Do and returns the error.
func failure(t testing.TB, c *Client, addr string, req *Request) *Error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	resp, err := c.Do(ctx, addr, req)
	if err == nil {
		resp.Close()
		t.Fatalf("Do succeeded with status %d", resp.Status)
	}
	return asError(t, err)
}

func asError(t testing.TB, err error) *Error {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v (%T) is no *Error", err, err)
	}
	return e
}

// idleConns counts the pooled connections of addr.
func idleConns(c *Client, addr string) int {
	c.pool.mu.Lock()
	defer c.pool.mu.Unlock()
	if h := c.pool.hosts[addr]; h != nil {
		return len(h.idle)
	}
	return 0
}

// A scriptConn is a connection whose peer has already said everything: it answers reads with
// the script, at most size bytes at a time, then ends.
type scriptConn struct {
	net.Conn
	script []byte
	size   int
	sent   []byte
}

func (c *scriptConn) Read(p []byte) (int, error) {
	if len(c.script) == 0 {
		return 0, io.EOF
	}
	if c.size > 0 && c.size < len(p) {
		p = p[:c.size]
	}
	n := copy(p, c.script)
	c.script = c.script[n:]
	return n, nil
}

func (c *scriptConn) Write(p []byte) (int, error) {
	c.sent = append(c.sent, p...)
	return len(p), nil
}

func (*scriptConn) Close() error                     { return nil }
func (*scriptConn) SetDeadline(time.Time) error      { return nil }
func (*scriptConn) SetReadDeadline(time.Time) error  { return nil }
func (*scriptConn) SetWriteDeadline(time.Time) error { return nil }

// scripted returns a Client whose every connection plays script in reads of at most size bytes.
func scripted(t testing.TB, script string, size int) *Client {
	return newClient(t, Options{Dial: func(context.Context, string, string) (net.Conn, error) {
		return &scriptConn{script: []byte(script), size: size}, nil
	}})
}
