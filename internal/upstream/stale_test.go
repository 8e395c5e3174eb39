//go:build unix

package upstream

import (
	"bufio"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// awaitReadable blocks until the idle connection to addr has something to say, and leaves it.
func awaitReadable(t *testing.T, c *Client, addr string) {
	t.Helper()
	cn := c.pool.get(addr)
	if cn == nil {
		t.Fatal("no idle connection")
	}
	err := cn.raw.rc.Read(func(fd uintptr) bool {
		_, _, err := syscall.Recvfrom(int(fd), make([]byte, 1), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return err != syscall.EAGAIN
	})
	if err != nil {
		t.Fatal(err)
	}
	c.pool.put(cn)
}

// TestStaleConnection: what a server does with an idle connection never becomes the answer to
// the next request, not even to one that cannot be repeated.
func TestStaleConnection(t *testing.T) {
	const unasked = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 5\r\n\r\nstale"
	for name, script := range map[string]string{"closed": "", "unasked answer": unasked} {
		for form, req := range map[string]func() *Request{
			"small": func() *Request { return post("x") },
			"large": func() *Request { return post(strings.Repeat("x", 1<<20)) },
			"stream": func() *Request {
				return &Request{Method: "POST", Target: "/", Stream: strings.NewReader("abc"), ContentLength: 3}
			},
		} {
			t.Run(name+" "+form, func(t *testing.T) {
				var requests atomic.Int32
				idle := make(chan struct{})
				addr := listen(t, func(n int, nc net.Conn) {
					r := bufio.NewReader(nc)
					if _, _, err := readRequest(r); err != nil {
						return
					}
					requests.Add(1)
					if n > 0 {
						answerOK(nc)
						return
					}
					io.WriteString(nc, emptyOK)
					<-idle
					io.WriteString(nc, script)
				})
				c := newClient(t, Options{})
				fetch(t, c, addr, get("/"))
				close(idle)
				awaitReadable(t, c, addr)
				if resp, got := fetch(t, c, addr, req()); resp.Status != 200 || got != "fresh" {
					t.Errorf("status %d body %q", resp.Status, got)
				}
				if requests.Load() != 2 {
					t.Errorf("server saw %d requests", requests.Load())
				}
			})
		}
	}
}

// TestPassedDeadline: a tick of an earlier wait that passed while the connection was idle does
// not make it stale.
func TestPassedDeadline(t *testing.T) {
	var conns atomic.Int32
	addr := listen(t, func(_ int, nc net.Conn) {
		conns.Add(1)
		r := bufio.NewReader(nc)
		for {
			if _, _, err := readRequest(r); err != nil {
				return
			}
			io.WriteString(nc, emptyOK)
		}
	})
	c := newClient(t, Options{})
	fetch(t, c, addr, get("/"))
	for _, timeout := range []time.Duration{0, limit} {
		for _, size := range []int{1, 1 << 20} {
			cn := c.pool.get(addr)
			cn.tick = limit / ticksPerWait
			cn.nc.SetReadDeadline(time.Unix(1, 0))
			c.pool.put(cn)
			req := post(strings.Repeat("x", size))
			req.FirstByteTimeout = timeout
			fetch(t, c, addr, req)
		}
	}
	if n := conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}
