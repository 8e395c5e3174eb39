//go:build unix

package upstream

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"
)

// benchAnswer is what a model server behind uvicorn answers to a short chat completion.
var benchAnswer = fmt.Sprintf("HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"+
	"server: uvicorn\r\ncontent-length: 700\r\ncontent-type: application/json\r\n\r\n%s",
	bytes.Repeat([]byte("x"), 700))

// respond answers every request on every connection with answer, without allocating.
func respond(b testing.TB, answer string) (addr string) {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				r, answer := bufio.NewReaderSize(nc, 64<<10), []byte(answer)
				for takeRequest(r) == nil {
					if _, err := nc.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

// takeRequest reads past one request.
func takeRequest(r *bufio.Reader) error {
	length := 0
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == len("\r\n") {
			_, err := r.Discard(length)
			return err
		}
		if digits, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			for _, c := range bytes.TrimSpace(digits) {
				length = 10*length + int(c-'0')
			}
		}
	}
}

var benchHeader = http.Header{
	"Accept": {"application/json"}, "Content-Type": {"application/json"},
	"Authorization": {"Bearer none"}, "User-Agent": {"OpenAI/Go 1.0"}, "X-Request-Id": {"f3a1"},
}

// A way is one of the clients to compare: it sends a body and returns the response's body.
type way func(ctx context.Context, addr string, body []byte) (io.ReadCloser, error)

func ways(b *testing.B) map[string]way {
	// A gateway always has some timer pending, for which the scheduler reads the clock at every
	// switch. Without one the client that sets no timeouts would look better than it is.
	pending := time.AfterFunc(time.Hour, func() {})
	b.Cleanup(func() { pending.Stop() })
	c := New(Options{})
	transport := &http.Transport{DisableCompression: true}
	b.Cleanup(c.Close)
	b.Cleanup(transport.CloseIdleConnections)
	return map[string]way{
		"upstream": func(ctx context.Context, addr string, body []byte) (io.ReadCloser, error) {
			return c.Do(ctx, addr, &Request{
				Method: "POST", Target: "/v1/chat/completions", Header: benchHeader, Body: [][]byte{body},
				FirstByteTimeout: time.Minute, IdleTimeout: time.Minute,
			})
		},
		"transport": func(ctx context.Context, addr string, body []byte) (io.ReadCloser, error) {
			req, err := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/v1/chat/completions", bytes.NewReader(body))
			if err != nil {
				return nil, err
			}
			req.Header = benchHeader
			resp, err := transport.RoundTrip(req)
			if err != nil {
				return nil, err
			}
			return resp.Body, nil
		},
	}
}

// cpu reports the CPU time that the whole process spends per operation, the responder's share
// included, which is the same for every client.
func cpu(b *testing.B, f func()) {
	var before, after syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &before)
	f()
	syscall.Getrusage(syscall.RUSAGE_SELF, &after)
	spent := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
	b.ReportMetric(float64(spent)/float64(b.N), "cpu-ns/op")
}

// BenchmarkDo is a short chat completion on a kept connection, under a context that can be
// cancelled.
func BenchmarkDo(b *testing.B) {
	for _, size := range []int{300, 8 << 10, 64 << 10} {
		addr, body := respond(b, benchAnswer), bytes.Repeat([]byte("b"), size)
		for name, send := range ways(b) {
			b.Run(fmt.Sprintf("%s/%d", name, size), func(b *testing.B) {
				buf := make([]byte, 32<<10)
				b.ReportAllocs()
				cpu(b, func() {
					for b.Loop() {
						ctx, cancel := context.WithCancel(b.Context())
						resp, err := send(ctx, addr, body)
						if err != nil {
							b.Fatal(err)
						}
						for err == nil {
							_, err = resp.Read(buf)
						}
						resp.Close()
						cancel()
					}
				})
			})
		}
	}
}

// BenchmarkChunk is one event of a stream, written by the server once the one before has been
// read.
func BenchmarkChunk(b *testing.B) {
	event := "data: {\"choices\":[{\"delta\":{\"content\":\" token\"}}]}\n\n"
	chunk := []byte(fmt.Sprintf("%x\r\n%s\r\n", len(event), event))
	next := make(chan struct{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			nc.Read(make([]byte, 4<<10))
			io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			for range next {
				if _, err := nc.Write(chunk); err != nil {
					break
				}
			}
			nc.Close()
		}
	}()
	for name, send := range ways(b) {
		b.Run(name, func(b *testing.B) {
			resp, err := send(b.Context(), l.Addr().String(), []byte("{}"))
			if err != nil {
				b.Fatal(err)
			}
			buf := make([]byte, 32<<10)
			b.ReportAllocs()
			cpu(b, func() {
				for b.Loop() {
					next <- struct{}{}
					if n, err := resp.Read(buf); n != len(event) {
						b.Fatal(n, err)
					}
				}
			})
			resp.Close()
			for range 2 { // until the server notices
				next <- struct{}{}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	close(next)
}
