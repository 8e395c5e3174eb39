package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// deadlineCounter counts how often deadlines are set on a connection.
type deadlineCounter struct {
	net.Conn
	set int
}

func (c *deadlineCounter) SetReadDeadline(t time.Time) error {
	c.set++
	return c.Conn.SetReadDeadline(t)
}

// inFakeTime runs test in a bubble of fake time with a client whose connections lead to serve.
func inFakeTime(t *testing.T, opts Options, serve func(nc net.Conn), test func(t *testing.T, c *Client, conns *[]*deadlineCounter)) {
	synctest.Test(t, func(t *testing.T) {
		var conns []*deadlineCounter
		var wg sync.WaitGroup
		if opts.Dial == nil {
			opts.Dial = func(context.Context, string, string) (net.Conn, error) {
				ours, theirs := net.Pipe()
				wg.Go(func() {
					defer theirs.Close()
					serve(theirs)
				})
				conns = append(conns, &deadlineCounter{Conn: ours})
				return conns[len(conns)-1], nil
			}
		}
		c := New(opts)
		defer wg.Wait() // time stands still once the test returns
		defer c.Close()
		test(t, c, &conns)
	})
}

func expectTimeout(t *testing.T, err error, op string, took, period time.Duration) {
	t.Helper()
	e := asError(t, err)
	if !e.Timeout || e.Op != op || errors.Is(e, context.DeadlineExceeded) {
		t.Errorf("error %+v", e)
	}
	if took < period || took > period+period/4 {
		t.Errorf("timeout of %v struck after %v", period, took)
	}
}

func TestFirstByteTimeout(t *testing.T) {
	for name, script := range map[string]string{"silence": "", "half a head": "HTTP/1.1 200 OK\r\n", "busy": "HTTP/1.1 102 Busy\r\n\r\n"} {
		for size, body := range map[string]string{"small": "x", "large": strings.Repeat("x", 1<<20)} {
			t.Run(name+" "+size, func(t *testing.T) {
				inFakeTime(t, Options{}, func(nc net.Conn) {
					readRequest(bufio.NewReader(nc))
					io.WriteString(nc, script)
					io.Copy(io.Discard, nc)
				}, func(t *testing.T, c *Client, _ *[]*deadlineCounter) {
					start := time.Now()
					req := post(body)
					req.FirstByteTimeout = time.Minute
					_, err := c.Do(t.Context(), "m:1", req)
					expectTimeout(t, err, OpHead, time.Since(start), time.Minute)
					if e := asError(t, err); e.BeforeFirstByte != (script == "") {
						t.Errorf("error %+v", e)
					}
				})
			})
		}
	}
}

// TestSlowUpload takes far longer than the timeout, but never stands still that long.
func TestSlowUpload(t *testing.T) {
	inFakeTime(t, Options{}, func(nc net.Conn) {
		r := bufio.NewReaderSize(nc, pieceSize/4)
		req, err := http.ReadRequest(r)
		for err == nil {
			time.Sleep(10 * time.Second)
			_, err = io.CopyN(io.Discard, req.Body, pieceSize/4)
		}
		time.Sleep(40 * time.Second)
		io.WriteString(nc, emptyOK)
	}, func(t *testing.T, c *Client, _ *[]*deadlineCounter) {
		req := post(strings.Repeat("x", 8*pieceSize))
		req.FirstByteTimeout = time.Minute
		start := time.Now()
		if _, err := c.Do(t.Context(), "m:1", req); err != nil {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestStalledUpload(t *testing.T) {
	for name, req := range map[string]*Request{
		"small":  post("x"),
		"large":  post(strings.Repeat("x", 1<<20)),
		"stream": {Method: "POST", Target: "/", Stream: strings.NewReader("abc"), ContentLength: -1},
	} {
		t.Run(name, func(t *testing.T) {
			inFakeTime(t, Options{}, func(nc net.Conn) {
				time.Sleep(10 * time.Minute) // reads nothing
			}, func(t *testing.T, c *Client, _ *[]*deadlineCounter) {
				req.FirstByteTimeout = time.Minute
				start := time.Now()
				_, err := c.Do(t.Context(), "m:1", req)
				expectTimeout(t, err, OpWrite, time.Since(start), time.Minute)
				if !asError(t, err).BeforeFirstByte {
					t.Errorf("error %+v", err)
				}
			})
		})
	}
}

// TestIdleTimeout: a stream may last as long as it likes if only it keeps moving.
func TestIdleTimeout(t *testing.T) {
	inFakeTime(t, Options{}, func(nc net.Conn) {
		readRequest(bufio.NewReader(nc))
		io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
		for range 1000 {
			time.Sleep(50 * time.Second)
			io.WriteString(nc, "1\r\na\r\n")
		}
		io.Copy(io.Discard, nc)
	}, func(t *testing.T, c *Client, _ *[]*deadlineCounter) {
		req := get("/")
		req.FirstByteTimeout, req.IdleTimeout = time.Second, time.Minute
		start := time.Now()
		resp, err := c.Do(t.Context(), "m:1", req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp)
		if len(body) != 1000 {
			t.Errorf("read %d bytes", len(body))
		}
		expectTimeout(t, err, OpBody, time.Since(start)-1000*50*time.Second, time.Minute)
	})
}

// TestNoTimeouts: what is not asked for does not strike, nor does what an earlier request on the
// connection asked for.
func TestNoTimeouts(t *testing.T) {
	inFakeTime(t, Options{IdleTimeout: time.Hour}, func(nc net.Conn) {
		r := bufio.NewReader(nc)
		for {
			if _, _, err := readRequest(r); err != nil {
				return
			}
			time.Sleep(time.Second)
			io.WriteString(nc, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na")
			time.Sleep(24 * time.Hour)
			io.WriteString(nc, "b")
		}
	}, func(t *testing.T, c *Client, conns *[]*deadlineCounter) {
		for _, timeout := range []time.Duration{2 * time.Second, 0, time.Minute, 0} {
			req := get("/")
			req.FirstByteTimeout = timeout
			if _, body := fetchForever(t, c, req); body != "ab" {
				t.Errorf("body %q", body)
			}
		}
		if len(*conns) != 1 {
			t.Errorf("%d connections", len(*conns))
		}
	})
}

func fetchForever(t *testing.T, c *Client, req *Request) (*Response, string) {
	t.Helper()
	resp, err := c.Do(t.Context(), "m:1", req)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

// TestDeadlinesAreSetRarely: a timeout must not cost a timer per chunk or per request.
func TestDeadlinesAreSetRarely(t *testing.T) {
	inFakeTime(t, Options{}, func(nc net.Conn) {
		r := bufio.NewReader(nc)
		for {
			if _, _, err := readRequest(r); err != nil {
				return
			}
			io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for range 1000 {
				time.Sleep(10 * time.Millisecond)
				io.WriteString(nc, "1\r\na\r\n")
			}
			io.WriteString(nc, "0\r\n\r\n")
		}
	}, func(t *testing.T, c *Client, conns *[]*deadlineCounter) {
		for range 6 {
			req := get("/")
			req.FirstByteTimeout, req.IdleTimeout = time.Minute, time.Minute
			fetchForever(t, c, req)
		}
		// 6000 chunks in a minute: once at the start, then every 15 s.
		if len(*conns) != 1 || (*conns)[0].set > 5 {
			t.Errorf("%d connections, deadlines set %d times", len(*conns), (*conns)[0].set)
		}
	})
}

func TestDialTimeout(t *testing.T) {
	blocked := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	inFakeTime(t, Options{DialTimeout: 3 * time.Second, Dial: blocked}, nil, func(t *testing.T, c *Client, _ *[]*deadlineCounter) {
		start := time.Now()
		_, err := c.Do(t.Context(), "m:1", get("/"))
		e := asError(t, err)
		if !e.Timeout || e.Op != OpDial || !e.BeforeFirstByte || time.Since(start) != 3*time.Second {
			t.Errorf("error %+v after %v", e, time.Since(start))
		}
		// A deadline of the caller's is the caller's.
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = c.Do(ctx, "m:1", get("/"))
		if e := asError(t, err); e.Timeout || !errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("error %+v", e)
		}
	})
}
