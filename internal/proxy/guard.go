package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"crossfade.dev/internal/llm"
)

// A clientConn is a client's connection as the listeners hand it to net/http's
// server: with TLS inside, so that HTTP/1.1 and HTTP/2 take one path, and under
// watch for what that server would let pass (framing.go). The server drops a
// Content-Length that comes beside Transfer-Encoding without a word, while RFC
// 9112 §6.1 wants such a connection closed; so this one tells the handler.
type clientConn struct {
	net.Conn
	tls *tls.Conn // Conn, when it is one

	framing framing
	// faulty is the number of the first request on the connection, from 1, whose
	// framing two servers could read in two ways; 0 when there was none.
	faulty atomic.Int64
	served atomic.Int64 // requests that reached the handler

	name sync.Once
	sni  string
}

type connKey struct{}

// withConn is http.Server's ConnContext.
func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf returns the connection that r came on, or nil behind other servers.
func connOf(r *http.Request) *clientConn {
	c, _ := r.Context().Value(connKey{}).(*clientConn)
	return c
}

// serverName is the SNI of a connection whose handshake is done.
func (c *clientConn) serverName() string {
	c.name.Do(func() { c.sni = c.tls.ConnectionState().ServerName })
	return c.sni
}

// Read reads for net/http's server and follows the framing of what it reads.
func (c *clientConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && c.tls != nil {
		explainTLS(err)
	}
	if n > 0 && c.framing.state != framingOff {
		if c.framing.scan(p[:n]); c.framing.fault {
			c.faulty.Store(c.framing.requests)
			c.framing.state = framingOff
		}
	}
	return n, err
}

// explainTLS tells a client that speaks plain HTTP to a port that speaks TLS.
func explainTLS(err error) {
	var record tls.RecordHeaderError
	if !errors.As(err, &record) || record.Conn == nil {
		return
	}
	switch string(record.RecordHeader[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO":
		body := llm.BadRequest("", "This port speaks HTTPS; use https:// in the URL.").JSON()
		_, _ = record.Conn.Write(append([]byte("HTTP/1.1 400 Bad Request"+jsonErrorHead), body...))
	}
}

// CloseWrite lets the server say that nothing more comes while it still reads.
func (c *clientConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// checkFraming refuses a request whose framing is ambiguous, and closes the
// connection: nobody can say where the next request on it begins.
func checkFraming(r *http.Request) *refusal {
	c := connOf(r)
	if c == nil || r.ProtoMajor != 1 {
		return nil
	}
	n := c.served.Add(1)
	if faulty := c.faulty.Load(); faulty == 0 || n < faulty {
		return nil
	}
	no := refuse(llm.BadRequest("", "The request's framing is ambiguous: send either Content-Length or "+
		"Transfer-Encoding: chunked, and each field on one line."), llm.ReasonBadRequest)
	no.closing = true
	return no
}

// Write gives the errors that net/http's server writes on its own the shape of all
// others. Those are single writes that begin with exactly these lines, which no
// answer of the handler does: its answers have a Date.
func (c *clientConn) Write(p []byte) (int, error) {
	if len(p) > 512 || len(p) < len(serverErrorStart) || string(p[:len(serverErrorStart)]) != serverErrorStart {
		return c.Conn.Write(p)
	}
	status, rest, ok := bytes.Cut(p, []byte(serverErrorHead))
	if !ok || bytes.IndexByte(status, '\n') >= 0 || bytes.HasPrefix(status, []byte("HTTP/1.1 2")) {
		return c.Conn.Write(p)
	}
	e := llm.BadRequest("", string(bytes.TrimSpace(rest)))
	body := e.JSON()
	out := append([]byte(nil), status...)
	out = append(out, jsonErrorHead...)
	out = append(out, body...)
	if _, err := c.Conn.Write(append(out, '\n')); err != nil {
		return 0, err
	}
	return len(p), nil
}

const (
	serverErrorStart = "HTTP/1.1 "
	serverErrorHead  = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
	jsonErrorHead    = "\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
)
