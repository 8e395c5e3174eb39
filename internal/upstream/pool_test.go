package upstream

import (
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// closeCounter is a connection that does nothing but count its closing.
type closeCounter struct {
	net.Conn
	closed *atomic.Int32
}

func (c closeCounter) Close() error {
	c.closed.Add(1)
	return nil
}

func TestPoolOrderAndBound(t *testing.T) {
	var closed atomic.Int32
	p := newPool(3, time.Hour)
	defer p.close()
	var conns []*conn
	for range 4 {
		conns = append(conns, newConn(closeCounter{closed: &closed}, "a:1", nil))
		p.put(conns[len(conns)-1])
	}
	if closed.Load() != 1 {
		t.Errorf("%d connections closed over the bound", closed.Load())
	}
	if p.get("b:1") != nil {
		t.Error("got a connection to another address")
	}
	for i := 2; i >= 0; i-- {
		if p.get("a:1") != conns[i] {
			t.Errorf("connection %d did not come out last in, first out", i)
		}
	}
	if p.get("a:1") != nil {
		t.Error("got a connection from an empty pool")
	}
}

// known counts the addresses that a pool remembers.
func known(p *pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.hosts)
}

// TestPoolForgets: addresses that are not used any more leave nothing behind, neither
// connections nor entries nor a timer.
func TestPoolForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var closed atomic.Int32
		p := newPool(2, time.Minute)
		for i := range 1000 {
			p.put(newConn(closeCounter{closed: &closed}, fmt.Sprint("m:", i), nil))
		}
		time.Sleep(30 * time.Second)
		for range 10 { // m:0 stays in use, by one connection of two
			c := p.get("m:0")
			p.put(newConn(closeCounter{closed: &closed}, "m:0", nil))
			p.put(c)
			time.Sleep(30 * time.Second)
			p.get("m:0")
		}
		synctest.Wait()
		if n := known(p); n != 1 {
			t.Errorf("%d addresses remembered", n)
		}
		if closed.Load() < 999 {
			t.Errorf("%d connections closed", closed.Load())
		}
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := known(p); n != 0 || p.sweep != nil {
			t.Errorf("%d addresses remembered, timer %v", n, p.sweep)
		}
		// And all begins anew.
		p.put(newConn(closeCounter{closed: &closed}, "m:0", nil))
		before := closed.Load()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if closed.Load() != before+1 {
			t.Error("the connection put later was not closed")
		}
		p.close()
	})
}

func TestPoolOff(t *testing.T) {
	addr := answering(t, emptyOK)
	c := newClient(t, Options{MaxIdlePerHost: -1})
	fetch(t, c, addr, get("/"))
	if n := idleConns(c, addr); n != 0 {
		t.Errorf("%d connections kept", n)
	}
}

// TestCloseClient: idle connections are closed, the one in use when its exchange ends, and a
// Client that is used further keeps none.
func TestCloseClient(t *testing.T) {
	var open sync.WaitGroup
	addr := listen(t, func(_ int, nc net.Conn) {
		open.Add(1)
		defer open.Done()
		buf := make([]byte, 1000)
		for {
			if _, err := nc.Read(buf); err != nil {
				return
			}
			io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")
		}
	})
	c := New(Options{})
	busy, err := c.Do(t.Context(), addr, get("/"))
	if err != nil {
		t.Fatal(err)
	}
	fetch(t, c, addr, get("/"))
	c.Close()
	if body, err := io.ReadAll(busy); string(body) != "ab" || err != nil {
		t.Errorf("read %q, %v", body, err)
	}
	fetch(t, c, addr, get("/"))
	open.Wait()
	c.Close()
}

// TestNoDescriptorsLeft: endpoints come and go, answers are read or dropped, and nothing stays
// open.
func TestNoDescriptorsLeft(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("counts /proc/self/fd")
	}
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") // the first socket opens the poller's descriptors
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	before := count()
	t.Run("churn", func(t *testing.T) {
		for i := range 20 {
			addr := answering(t, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab")
			c := newClient(t, Options{})
			fetch(t, c, addr, get("/"))
			resp, err := c.Do(t.Context(), addr, get("/"))
			if err != nil {
				t.Fatal(err)
			}
			if i%2 == 0 {
				io.ReadAll(resp)
			}
			resp.Close()
		}
	})
	if after := count(); after != before {
		t.Errorf("%d descriptors open, %d before", after, before)
	}
}
