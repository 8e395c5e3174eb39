package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
)

// switching is an engine that switches to an echo of bytes.
func switching(c net.Conn) {
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	if req.Header.Get("Upgrade") == "" {
		io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
		return
	}
	fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nSec-Websocket-Accept: %s\r\nX-Path: %s\r\n\r\nhello",
		req.Header.Get("Upgrade"), req.Header.Get("Sec-Websocket-Key"), req.RequestURI)
	io.Copy(c, r)
}

const upgradeRequest = "GET /chat?x HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: k\r\n\r\n"

// upgraded opens a connection that has switched protocols.
func upgraded(t *testing.T, w *world, early string) (net.Conn, *bufio.Reader) {
	t.Helper()
	c := w.dial()
	io.WriteString(c, upgradeRequest+early)
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("answer is %+v, %v", resp, err)
	}
	if h := resp.Header; h.Get("Upgrade") != "websocket" || !strings.EqualFold(h.Get("Connection"), "upgrade") ||
		h.Get("Sec-Websocket-Accept") != "k" || h.Get("X-Path") != "/chat?x" || h.Get("Content-Length") != "" {
		t.Errorf("header is %v", h)
	}
	readExactly(t, r, "hello"+early)
	return c, r
}

func TestUpgrade(t *testing.T) {
	w := newWorld(t, serving(to(pool("a", rawEngine(t, switching)))))
	c, r := upgraded(t, w, "early")
	for _, s := range []string{"one", "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "\x00\xff"} {
		io.WriteString(c, s)
		readExactly(t, r, s)
	}
	if n := w.proxy.Active(); n != 1 {
		t.Errorf("%d are active", n)
	}
	c.Close()
	v := w.last(1)
	hasReason(t, v, llm.ReasonOK)
	if v.Outcome.Status != 101 || v.Outcome.BytesIn == 0 || v.Outcome.BytesOut == 0 {
		t.Errorf("outcome is %+v", v.Outcome)
	}
}

func TestEngineEndsUpgradedConnection(t *testing.T) {
	w := newWorld(t, serving(to(pool("a", rawEngine(t, func(c net.Conn) {
		http.ReadRequest(bufio.NewReader(c))
		io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-Websocket-Accept: k\r\nX-Path: /chat?x\r\n\r\nhello")
	})))))
	_, r := upgraded(t, w, "")
	if _, err := r.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
	w.last(1)
}

func TestOtherUpgradesAreNotOffered(t *testing.T) {
	w := newWorld(t, serving(to(pool("a", rawEngine(t, switching)))))
	for _, header := range []string{
		"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n",
		"Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
		"Upgrade: websocket\r\n",
	} {
		c := w.dial()
		io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n"+header+"\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Errorf("%q: answer is %+v, %v", header, resp, err)
		}
	}
}

func TestUpgradeRefusedByEngine(t *testing.T) {
	w := newWorld(t, serving(to(pool("a", engine(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "no", http.StatusForbidden)
	})))))
	c := w.dial()
	io.WriteString(c, upgradeRequest)
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != 403 {
		t.Errorf("answer is %+v, %v", resp, err)
	}
}

func TestDrainCutsUpgradedConnections(t *testing.T) {
	w := newWorld(t, serving(to(pool("a", rawEngine(t, switching)))))
	_, r := upgraded(t, w, "")
	if left := w.shutdown(20 * time.Millisecond); left != 1 {
		t.Errorf("%d were left", left)
	}
	if _, err := r.ReadByte(); err == nil {
		t.Error("the connection goes on")
	}
}
