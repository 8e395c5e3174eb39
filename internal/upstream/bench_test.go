package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
)

// benchAnswer is what a model server behind uvicorn answers to a short chat completion.
var benchAnswer = fmt.Sprintf("HTTP/1.1 200 OK\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"+
	"server: uvicorn\r\ncontent-length: 700\r\ncontent-type: application/json\r\n\r\n%s",
	bytes.Repeat([]byte("x"), 700))

// respond answers every request on every connection with answer, without looking at it: a
// request is taken to be what one read brings.
func respond(b *testing.B, answer string) (addr string) {
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
				buf := make([]byte, 64<<10)
				for {
					if _, err := nc.Read(buf); err != nil {
						return
					}
					if _, err := io.WriteString(nc, answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String()
}

var benchHeader = http.Header{
	"Accept": {"application/json"}, "Content-Type": {"application/json"},
	"Authorization": {"Bearer none"}, "User-Agent": {"OpenAI/Go 1.0"}, "X-Request-Id": {"f3a1"},
}

func BenchmarkDo(b *testing.B) {
	addr := respond(b, benchAnswer)
	body := [][]byte{bytes.Repeat([]byte("b"), 300)}
	buf := make([]byte, 32<<10)

	b.Run("upstream", func(b *testing.B) {
		c := New(Options{})
		defer c.Close()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		b.ReportAllocs()
		for b.Loop() {
			resp, err := c.Do(ctx, addr, &Request{Method: "POST", Target: "/v1/chat/completions",
				Header: benchHeader, Body: body})
			if err != nil {
				b.Fatal(err)
			}
			for err == nil {
				_, err = resp.Read(buf)
			}
			if err != io.EOF {
				b.Fatal(err)
			}
		}
	})
	b.Run("http.Transport", func(b *testing.B) {
		t := &http.Transport{DisableCompression: true}
		defer t.CloseIdleConnections()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		b.ReportAllocs()
		for b.Loop() {
			req, err := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/v1/chat/completions", bytes.NewReader(body[0]))
			if err != nil {
				b.Fatal(err)
			}
			req.Header = benchHeader
			resp, err := t.RoundTrip(req)
			if err != nil {
				b.Fatal(err)
			}
			for err == nil {
				_, err = resp.Body.Read(buf)
			}
			if err != io.EOF {
				b.Fatal(err)
			}
			resp.Body.Close()
		}
	})
}
