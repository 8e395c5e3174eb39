package upstream

import (
	"bufio"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"crossfade.dev/test/port"
)

// A dying server answers the first request of its first connection and treats every later
// request by last, which gets it after it was read. Later connections behave as given by next.
func dying(t *testing.T, last, next func(nc net.Conn)) (addr string, conns, requests *atomic.Int32) {
	conns, requests = new(atomic.Int32), new(atomic.Int32)
	addr = listen(t, func(n int, nc net.Conn) {
		conns.Add(1)
		r := bufio.NewReader(nc)
		for i := 0; ; i++ {
			if _, _, err := readRequest(r); err != nil {
				return
			}
			requests.Add(1)
			switch {
			case n > 0:
				next(nc)
				return
			case i > 0:
				last(nc)
				return
			}
			io.WriteString(nc, emptyOK)
		}
	})
	return addr, conns, requests
}

func answerOK(nc net.Conn) {
	io.WriteString(nc, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nfresh")
}

func hangUp(net.Conn) {}

func reset(nc net.Conn) { nc.(*net.TCPConn).SetLinger(0) }

// TestRetryOnFreshConnection: the server has taken the request on a reused connection and hung
// up without a byte. Only a body that can be sent again is.
func TestRetryOnFreshConnection(t *testing.T) {
	for name, last := range map[string]func(net.Conn){"closed": hangUp, "reset": reset} {
		for size, body := range map[string]string{"small": "x", "large": strings.Repeat("x", 1<<20)} {
			t.Run(name+" "+size, func(t *testing.T) {
				addr, conns, requests := dying(t, last, answerOK)
				c := newClient(t, Options{})
				fetch(t, c, addr, get("/"))
				if _, got := fetch(t, c, addr, post(body)); got != "fresh" {
					t.Errorf("body %q", got)
				}
				if conns.Load() != 2 || requests.Load() != 3 {
					t.Errorf("%d connections, %d requests", conns.Load(), requests.Load())
				}
			})
		}
	}
}

func TestRetryOnlyOnce(t *testing.T) {
	addr, conns, _ := dying(t, hangUp, hangUp)
	c := newClient(t, Options{})
	fetch(t, c, addr, get("/"))
	e := failure(t, c, addr, post("x"))
	if !e.BeforeFirstByte || e.Reused || e.Op != OpHead || e.Timeout || !errors.Is(e, io.EOF) {
		t.Errorf("error %+v", e)
	}
	if conns.Load() != 2 {
		t.Errorf("%d connections", conns.Load())
	}
}

func TestNoRetryOfStream(t *testing.T) {
	addr, conns, _ := dying(t, hangUp, answerOK)
	c := newClient(t, Options{})
	fetch(t, c, addr, get("/"))
	e := failure(t, c, addr, &Request{Method: "POST", Target: "/", Stream: strings.NewReader("abc"), ContentLength: 3})
	if !e.BeforeFirstByte || !e.Reused {
		t.Errorf("error %+v", e)
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections", conns.Load())
	}
}

func TestNoRetryAfterFirstByte(t *testing.T) {
	addr, conns, _ := dying(t, func(nc net.Conn) { io.WriteString(nc, "HTTP/1.1 2") }, answerOK)
	c := newClient(t, Options{})
	fetch(t, c, addr, get("/"))
	e := failure(t, c, addr, post("x"))
	if e.BeforeFirstByte || !e.Reused || !errors.Is(e, io.ErrUnexpectedEOF) {
		t.Errorf("error %+v", e)
	}
	if conns.Load() != 1 {
		t.Errorf("%d connections", conns.Load())
	}
}

func TestFreshConnectionDies(t *testing.T) {
	addr := listen(t, func(_ int, nc net.Conn) { readRequest(bufio.NewReader(nc)) })
	e := failure(t, newClient(t, Options{}), addr, post("x"))
	if !e.BeforeFirstByte || e.Reused || e.Op != OpHead {
		t.Errorf("error %+v", e)
	}
}

func TestRefused(t *testing.T) {
	addr := port.Address(t)
	e := failure(t, newClient(t, Options{}), addr, post("x"))
	if e.Op != OpDial || !e.BeforeFirstByte || e.Addr != addr || !errors.Is(e, syscall.ECONNREFUSED) {
		t.Errorf("error %+v", e)
	}
}
