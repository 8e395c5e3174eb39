package upstream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// server starts a net/http server, which speaks a version of the protocol that is not our own.
func server(t *testing.T, handler http.HandlerFunc) (addr string) {
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestEcho sends bodies of sizes around every boundary, in every form, to a net/http server,
// and reads them back with a length or in chunks.
func TestEcho(t *testing.T) {
	addr := server(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("server read: %v", err)
		}
		w.Header().Set("X-Length", fmt.Sprint(r.ContentLength))
		if r.URL.Query().Has("chunked") {
			w.(http.Flusher).Flush()
		}
		w.Write(body)
	})
	c := newClient(t, Options{})
	forms := map[string]func(body []byte) *Request{
		"parts": func(body []byte) *Request {
			return &Request{Body: [][]byte{body[:len(body)/3], body[len(body)/3:]}}
		},
		"stream": func(body []byte) *Request {
			return &Request{Stream: bytes.NewReader(body), ContentLength: int64(len(body))}
		},
		"chunks": func(body []byte) *Request {
			return &Request{Stream: bytes.NewReader(body), ContentLength: -1}
		},
	}
	for _, size := range []int{0, 1, 300, readSize, writeSize - 200, writeSize, writeSize + 1, pieceSize, pieceSize + 1, 1<<20 + 7} {
		body := bytes.Repeat([]byte("0123456789"), size/10+1)[:size]
		for name, form := range forms {
			for _, target := range []string{"/?length", "/?chunked"} {
				req := form(body)
				req.Method, req.Target = "POST", target
				resp, got := fetch(t, c, addr, req)
				if resp.Status != 200 || got != string(body) {
					t.Errorf("%s of %d bytes to %s: status %d and %d bytes", name, size, target, resp.Status, len(got))
				}
				want := fmt.Sprint(size)
				if name == "chunks" {
					want = "-1"
				}
				if length := resp.Header.Get("X-Length"); length != want {
					t.Errorf("%s of %d bytes to %s: server saw length %s", name, size, target, length)
				}
			}
		}
	}
	if n := idleConns(c, addr); n != 1 {
		t.Errorf("%d connections kept after requests one by one", n)
	}
}

func TestAgainstNetHTTP(t *testing.T) {
	seen := make(chan *http.Request, 1)
	addr := server(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		seen <- r
		switch r.URL.Path {
		case "/trailer":
			w.Header().Set("Trailer", "X-Sum")
			io.WriteString(w, "body")
			w.Header().Set("X-Sum", "4")
		case "/hints":
			w.Header().Set("Link", "</a>")
			w.WriteHeader(http.StatusEarlyHints)
			w.WriteHeader(http.StatusTeapot)
		case "/204":
			w.WriteHeader(http.StatusNoContent)
		default:
			io.WriteString(w, "plain")
		}
	})
	c := newClient(t, Options{})

	resp, body := fetch(t, c, addr, &Request{
		Method: "POST", Target: "/trailer?a=%2f", Host: "chat.example", Header: http.Header{"X-A": {"1", "2"}},
		Stream: strings.NewReader("abc"), ContentLength: -1, Trailer: http.Header{"X-End": {"yes"}},
	})
	if body != "body" || resp.Trailer.Get("X-Sum") != "4" {
		t.Errorf("body %q trailer %v", body, resp.Trailer)
	}
	r := <-seen
	got := []any{r.Host, r.RequestURI, r.Header["X-A"], r.TransferEncoding, r.Trailer}
	want := []any{"chat.example", "/trailer?a=%2f", []string{"1", "2"}, []string{"chunked"}, http.Header{"X-End": {"yes"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}

	var hints []int
	req := get("/hints")
	req.Informational = func(status int, _ http.Header) { hints = append(hints, status) }
	if resp, _ := fetch(t, c, addr, req); resp.Status != http.StatusTeapot || len(hints) != 1 {
		t.Errorf("status %d after hints %v", resp.Status, hints)
	}
	<-seen
	if resp, body := fetch(t, c, addr, get("/204")); resp.Status != 204 || body != "" {
		t.Errorf("status %d body %q", resp.Status, body)
	}
	<-seen
	head := get("/")
	head.Method = "HEAD"
	if resp, body := fetch(t, c, addr, head); resp.ContentLength != 5 || body != "" {
		t.Errorf("HEAD: length %d body %q", resp.ContentLength, body)
	}
	<-seen
	if n := idleConns(c, addr); n != 1 {
		t.Errorf("%d connections kept", n)
	}
}

// TestArrivedTogether: what came in one read of the connection comes in one Read, however many
// chunks it was, and the end of the body along with the last of it.
func TestArrivedTogether(t *testing.T) {
	release := make(chan struct{})
	addr := listen(t, func(_ int, nc net.Conn) {
		nc.Read(make([]byte, 1000))
		io.WriteString(nc, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n")
		<-release
		io.WriteString(nc, "5\r\nthree\r\n4\r\nfo")
		<-release
		io.WriteString(nc, "ur\r\n4\r\nfive\r\n0\r\n\r\n")
	})
	resp, err := newClient(t, Options{}).Do(t.Context(), addr, get("/"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	buf := make([]byte, 4<<10)
	for _, want := range []string{"onetwo", "threefo", "urfive"} {
		n, err := resp.Read(buf)
		if got := string(buf[:n]); got != want {
			t.Errorf("read %q, want %q", got, want)
		}
		if ended := err == io.EOF; ended != (want == "urfive") || err != nil && !ended {
			t.Errorf("after %q: error %v", want, err)
		}
		if resp.buf != nil {
			t.Errorf("after %q: a buffer is held", want)
		}
		if want != "urfive" {
			release <- struct{}{}
		}
	}
}

func TestUpgrade(t *testing.T) {
	addr := listen(t, func(_ int, nc net.Conn) {
		nc.Read(make([]byte, 1000))
		io.WriteString(nc, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
		io.Copy(nc, nc)
	})
	ctx, cancel := context.WithCancel(t.Context())
	req := get("/ws")
	req.Upgrade, req.Header = true, http.Header{"Upgrade": {"echo"}}
	resp, err := newClient(t, Options{}).Do(ctx, addr, req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Close()
	if resp.Status != 101 || resp.Header.Get("Upgrade") != "echo" {
		t.Errorf("status %d header %v", resp.Status, resp.Header)
	}
	nc, r, err := resp.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	cancel() // has no effect any more
	io.WriteString(nc, "late")
	nc.(*net.TCPConn).CloseWrite()
	if got, err := io.ReadAll(r); string(got) != "earlylate" || err != nil {
		t.Errorf("read %q, %v", got, err)
	}
	if _, _, err := resp.Hijack(); err == nil {
		t.Error("hijacked twice")
	}
}

func TestUpgradeRefused(t *testing.T) {
	req := get("/ws")
	req.Upgrade, req.Header = true, http.Header{"Upgrade": {"websocket"}}
	resp, body := fetch(t, scripted(t, "HTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nno", 0), "m:1", req)
	if resp.Status != 426 || body != "no" {
		t.Errorf("status %d body %q", resp.Status, body)
	}
	if _, _, err := resp.Hijack(); err == nil {
		t.Error("hijacked what was not switched")
	}
}
