package upstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// tooLarge answers from the head of the request alone.
const tooLarge = "HTTP/1.1 413 Too Large\r\nContent-Length: 8\r\n\r\ntoo long"

func readHead(nc net.Conn) { http.ReadRequest(bufio.NewReader(nc)) }

// TestEarlyAnswer: the server answers a large body without reading it, and then either waits
// for ever or hangs up in the middle of it. The answer is delivered all the same, and the
// connection is not used again.
func TestEarlyAnswer(t *testing.T) {
	after := map[string]func(nc net.Conn, ended chan struct{}){
		"and waits":      func(_ net.Conn, ended chan struct{}) { <-ended },
		"and closes":     func(net.Conn, chan struct{}) {},
		"and reads more": func(nc net.Conn, ended chan struct{}) { io.CopyN(io.Discard, nc, 1<<20); <-ended },
	}
	body := strings.Repeat("x", 32<<20)
	for name, then := range after {
		for form, req := range map[string]*Request{
			"body":   post(body),
			"stream": {Method: "POST", Target: "/", Stream: strings.NewReader(body), ContentLength: -1},
		} {
			t.Run(form+" "+name, func(t *testing.T) {
				ended := make(chan struct{})
				addr := listen(t, func(_ int, nc net.Conn) {
					readHead(nc)
					io.WriteString(nc, tooLarge)
					then(nc, ended)
				})
				t.Cleanup(func() { close(ended) })
				c := newClient(t, Options{})
				resp, got := fetch(t, c, addr, req)
				if resp.Status != 413 || got != "too long" {
					t.Errorf("status %d body %q", resp.Status, got)
				}
				if n := idleConns(c, addr); n != 0 {
					t.Errorf("%d connections kept with half a request on them", n)
				}
			})
		}
	}
}

// TestEarlyAnswerToSmallBody: the answer is there before the request.
func TestEarlyAnswerToSmallBody(t *testing.T) {
	addr := listen(t, func(_ int, nc net.Conn) {
		io.WriteString(nc, tooLarge)
		nc.(*net.TCPConn).CloseWrite() // no more to say, but still reading: nothing wakes a reader again
		io.Copy(io.Discard, nc)
	})
	if resp, got := fetch(t, newClient(t, Options{}), addr, post("x")); resp.Status != 413 || got != "too long" {
		t.Errorf("status %d body %q", resp.Status, got)
	}
}

// TestAnswerWhileSourceIsSilent: a streamed body that gives nothing does not keep the answer.
func TestAnswerWhileSourceIsSilent(t *testing.T) {
	addr := listen(t, func(_ int, nc net.Conn) {
		readHead(nc)
		io.WriteString(nc, tooLarge)
		io.Copy(io.Discard, nc)
	})
	source, end := io.Pipe()
	defer end.Close()
	resp, got := fetch(t, newClient(t, Options{}), addr, &Request{Method: "POST", Target: "/", Stream: source, ContentLength: 10})
	if resp.Status != 413 || got != "too long" {
		t.Errorf("status %d body %q", resp.Status, got)
	}
}

// TestSourceFails: the fault is the source's, and the server never sees a complete request.
func TestSourceFails(t *testing.T) {
	broken := errors.New("client sent garbage")
	sources := map[string]struct {
		stream io.Reader
		length int64
		want   error
	}{
		"fails in chunks":   {io.MultiReader(strings.NewReader("ab"), failing{broken}), -1, broken},
		"fails with length": {io.MultiReader(strings.NewReader("ab"), failing{broken}), 4, broken},
		"ends early":        {strings.NewReader("ab"), 4, io.ErrUnexpectedEOF},
	}
	for name, source := range sources {
		t.Run(name, func(t *testing.T) {
			complete := make(chan error, 1)
			addr := listen(t, func(_ int, nc net.Conn) {
				_, _, err := readRequest(bufio.NewReader(nc))
				complete <- err
			})
			e := failure(t, newClient(t, Options{}), addr,
				&Request{Method: "POST", Target: "/", Stream: source.stream, ContentLength: source.length})
			if e.Op != OpStream || e.BeforeFirstByte || e.Timeout || !errors.Is(e, source.want) {
				t.Errorf("error %+v", e)
			}
			if err := <-complete; err == nil {
				t.Error("server took the request for complete")
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// lateWriter is a connection whose failing writes take their time to return.
type lateWriter struct{ net.Conn }

func (w lateWriter) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil {
		time.Sleep(time.Second)
	}
	return n, err
}

// TestBodyIsLetGo: once the response is closed nobody reads the caller's body any more, even if
// it was still being written.
func TestBodyIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New(Options{Dial: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				readHead(theirs)
				io.WriteString(theirs, tooLarge)
			}()
			return lateWriter{ours}, nil
		}})
		defer c.Close()
		resp, err := c.Do(t.Context(), "m:1", post(strings.Repeat("x", 1<<20)))
		if err != nil {
			t.Fatal(err)
		}
		resp.Close()
		select {
		case <-resp.sender.done:
		default:
			t.Error("the body is still in use")
			<-resp.sender.done
		}
	})
}
