package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// limited serves to an echoing engine with a listener's limit on bodies.
func limited(t *testing.T, limit int64, p *routing.Pool) *world {
	l := &routing.Listener{MaxBodyBytes: limit, MaxBodySource: "ClientTrafficPolicy default/limit"}
	return newWorld(t, snapshotOf(l, route{prefix("/"), to(p)}))
}

func padded(n int) string {
	const frame = `{"model":"m","x":""}`
	return `{"model":"m","x":"` + strings.Repeat("y", n-len(frame)) + `"}`
}

func TestBodyLimitOfListener(t *testing.T) {
	const limit = 100_000
	w := limited(t, limit, pool("a", engine(t, echoing("a"))))
	for _, sized := range []bool{true, false} {
		send := func(n int) answerSeen {
			var body io.Reader = strings.NewReader(padded(n))
			if !sized {
				body = io.MultiReader(body) // hides the length
			}
			return w.send(w.request(http.MethodPost, "/v1/completions", body))
		}
		if a := send(limit); a.status != 200 {
			t.Errorf("sized %v: at the limit, answer is %d %.100s", sized, a.status, a.body)
		}
		isOpenAIError(t, send(limit+1), 413, "100000 bytes, the limit set by ClientTrafficPolicy default/limit")
	}
	hasReason(t, w.last(4), llm.ReasonBodyTooLarge)
	if n := w.proxy.BufferedBytes(); n != 0 {
		t.Errorf("%d bytes are still taken", n)
	}
}

func TestBodyLimitByDefault(t *testing.T) {
	w := newWorld(t, serving(to(pool("a", engine(t, echoing("a"))))), func(o *Options) { o.Limits.MaxBodyBytes = 5000 })
	if a := w.post("/v1/completions", padded(5000)); a.status != 200 {
		t.Errorf("answer is %d", a.status)
	}
	isOpenAIError(t, w.post("/v1/completions", padded(5001)), 413, "5000 bytes, the limit set by the gateway's default")
}

func TestAnnouncedBodyIsRefusedUnread(t *testing.T) {
	w := limited(t, 100, pool("a", engine(t, echoing("a"))))
	c := w.dial()
	io.WriteString(c, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 101\r\nExpect: 100-continue\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 413 || !resp.Close {
		t.Fatalf("answer is %+v, %v", resp, err)
	}
}

func TestExpectContinue(t *testing.T) {
	w := limited(t, 100, pool("a", engine(t, echoing("a"))))
	c := w.dial()
	io.WriteString(c, "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\nExpect: 100-continue\r\n\r\n")
	r := bufio.NewReader(c)
	if line, err := r.ReadString('\n'); line != "HTTP/1.1 100 Continue\r\n" {
		t.Fatalf("first line is %q, %v", line, err)
	}
	r.ReadString('\n')
	io.WriteString(c, `{"model":"m"}`)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("answer is %+v, %v", resp, err)
	}
	body, _ := io.ReadAll(resp.Body)
	if e := echoed(t, answerSeen{status: 200, body: string(body)}); e.Header.Get("Expect") != "" {
		t.Error("Expect reached the engine")
	}
}

func TestStreamedBodies(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 300_000)
	t.Run("pass any size", func(t *testing.T) {
		w := newWorld(t, serving(to(service("a", engine(t, echoing("a"))))), func(o *Options) { o.Limits.MaxBodyBytes = 10 })
		if e := echoed(t, w.send(w.request(http.MethodPost, "/", bytes.NewReader(big)))); e.Body != string(big) {
			t.Errorf("engine got %d bytes", len(e.Body))
		}
		if o := w.last(1).Outcome; o.BytesIn != int64(len(big)) {
			t.Errorf("BytesIn is %d", o.BytesIn)
		}
	})
	t.Run("in both directions at once", func(t *testing.T) {
		w := newWorld(t, serving(to(service("a", engine(t, func(w http.ResponseWriter, r *http.Request) {
			http.NewResponseController(w).EnableFullDuplex()
			w.(http.Flusher).Flush()
			buf := make([]byte, 1)
			for {
				if _, err := io.ReadFull(r.Body, buf); err != nil {
					return
				}
				w.Write(buf)
				w.(http.Flusher).Flush()
			}
		})))))
		body, feed := io.Pipe()
		resp, err := w.client.Do(w.request(http.MethodPost, "/", body))
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		for _, s := range []string{"a", "b", "c"} {
			io.WriteString(feed, s)
			readExactly(t, resp.Body, s)
		}
		feed.Close()
		if _, err := resp.Body.Read(make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
	})
	t.Run("are limited by policy", func(t *testing.T) {
		w := limited(t, 1000, service("a", engine(t, echoing("a"))))
		isOpenAIError(t, w.send(w.request(http.MethodPost, "/", bytes.NewReader(big))), 413, "1000 bytes")
		isOpenAIError(t, w.send(w.request(http.MethodPost, "/", io.MultiReader(bytes.NewReader(big[:2000])))), 413, "1000 bytes")
		hasReason(t, w.last(2), llm.ReasonBodyTooLarge)
	})
	t.Run("answered before they end", func(t *testing.T) {
		w := newWorld(t, serving(to(service("a", rawEngine(t, func(c net.Conn) {
			http.ReadRequest(bufio.NewReader(c))
			io.WriteString(c, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			io.Copy(io.Discard, c)
		})))))
		for range 5 {
			c := w.dial()
			io.WriteString(c, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nonly this")
			r := bufio.NewReader(c)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 403 || !resp.Close {
				t.Fatalf("answer is %+v, %v", resp, err)
			}
			if _, err := r.ReadByte(); err == nil {
				t.Error("the connection stays open")
			}
		}
	})
}

// slowStart is a request that has not sent all of its body.
func slowStart(w *world, path string, sent, length int) net.Conn {
	c := w.dial()
	fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, length, strings.Repeat(" ", sent))
	return c
}

func TestBudgetForBodies(t *testing.T) {
	w := newWorld(t, serving(to(pool("a", engine(t, echoing("a"))))), func(o *Options) { o.Limits.BufferBytes = 200 << 10 })
	// Announcing much takes little.
	for range 3 {
		slowStart(w, "/v1/completions", 10, 1<<20)
	}
	eventually(w.t, "three bodies are held", func() bool { return w.proxy.BufferedBytes() == 3*firstRead })
	a := w.post("/v1/completions", padded(100_000))
	isOpenAIError(t, a, 503, "memory")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	hasReason(t, w.last(1), llm.ReasonOverloaded)
	if a := w.post("/v1/completions", padded(4000)); a.status != 200 {
		t.Errorf("a small body got %d", a.status)
	}
}

func TestStalledBodyTimesOut(t *testing.T) {
	w := newWorld(t, serving(to(pool("a", engine(t, echoing("a"))))), func(o *Options) { o.Timeouts.BodyRead = 50 * time.Millisecond })
	resp, err := http.ReadResponse(bufio.NewReader(slowStart(w, "/v1/completions", 10, 100)), nil)
	if err != nil || resp.StatusCode != 408 || !resp.Close {
		t.Fatalf("answer is %+v, %v", resp, err)
	}
	if n := w.proxy.BufferedBytes(); n != 0 {
		t.Errorf("%d bytes are still taken", n)
	}
}

func TestRefusalDoesNotWaitForTheBody(t *testing.T) {
	w := newWorld(t, serving(to(pool("a"))))
	for _, path := range []string{"/%2e%2e", "/v1/models"} {
		c := slowStart(w, path, 10, 100)
		if path == "/v1/models" {
			c = w.dial()
			io.WriteString(c, "GET /v1/models HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
		}
		r := bufio.NewReader(c)
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode == 0 {
			t.Fatalf("%s: %v", path, err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Errorf("%s: the connection does not end: %v", path, err)
		}
	}
}

func TestClientLeavingInItsBody(t *testing.T) {
	w := newWorld(t, serving(to(pool("a", engine(t, echoing("a"))))))
	slowStart(w, "/v1/completions", 10, 100).Close()
	if v := w.last(1); v.Outcome.Reason != llm.ReasonBadRequest && v.Outcome.Reason != llm.ReasonClientClosed {
		t.Errorf("reason is %q", v.Outcome.Reason)
	}
}

func TestBufferPoolSizes(t *testing.T) {
	var p bufferPool
	for _, n := range []int64{0, 1, 4095, 4096, 4097, 65536, 65537, 1 << 20, 1<<20 + 1} {
		b := p.get(n)
		if int64(cap(*b)) < n || int64(cap(*b)) != roundUp(n) || len(*b) != 0 {
			t.Errorf("get(%d) has len %d, cap %d; roundUp says %d", n, len(*b), cap(*b), roundUp(n))
		}
		*b = append(*b, make([]byte, n)...)
		p.put(b)
	}
}
