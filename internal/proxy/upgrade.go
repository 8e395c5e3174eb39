package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
	"golang.org/x/net/http/httpguts"
)

// asksForUpgrade reports whether the request may switch to WebSocket. Other
// protocols are not offered to engines: HTTP/2 in an upgraded connection, for one,
// would take its requests past every route. A server may ignore the wish
// (RFC 9110 §7.8).
func (x *exchange) asksForUpgrade() bool {
	h := x.r.Header
	return x.r.ProtoMajor == 1 && !hasBody(x.r) && len(h["Upgrade"]) == 1 && strings.EqualFold(h["Upgrade"][0], "websocket") &&
		httpguts.HeaderValuesContainsToken(h["Connection"], "upgrade") && x.pool.Protocol == routing.HTTP1
}

// join switches protocols with both sides and carries bytes until one of them
// ends. The handler does not return before that, so the connection counts as
// active; the end of the request's context cuts it.
func (x *exchange) join() *refusal {
	o := &x.visit.Outcome
	engine, fromEngine, err := x.reply.hijack()
	if err != nil {
		return x.blame(err)
	}
	defer engine.Close()
	client, buffered, err := http.NewResponseController(x.w).Hijack()
	if err != nil {
		x.proxy.logger.Warn("connection cannot be upgraded", "route", x.rule.ID, "error", err)
		return refuse(llm.Internal("This connection cannot switch protocols."), llm.ReasonInternal)
	}
	defer client.Close()
	x.wrote = true
	o.Reason = llm.ReasonOK
	o.FirstByte = x.proxy.now()
	x.decision.Reservation.FirstToken(o.FirstByte)
	if c, ok := client.(*clientConn); ok {
		client = c.Conn // what follows is no HTTP, so there is nothing to guard
	}
	fromClient := unread(buffered.Reader, client)
	if _, err := client.Write(x.switchingHead()); err != nil {
		o.Reason = llm.ReasonClientClosed
		return nil
	}
	stop := context.AfterFunc(x.r.Context(), func() {
		engine.Close()
		client.Close()
	})
	defer stop()
	if cut := x.ctx; x.trial != nil {
		// The route's limit, by which this context may end too, is not for connections.
		defer context.AfterFunc(cut, func() {
			if context.Cause(cut) == errRolloutCancelled {
				engine.Close()
				client.Close()
			}
		})()
	}
	o.BytesIn, o.BytesOut = carry(client, fromClient, engine, fromEngine)
	if context.Cause(x.ctx) == errRolloutCancelled {
		o.Reason = llm.ReasonRolloutCancelled
	}
	return nil
}

// hijack takes the connection to the engine over.
func (a *reply) hijack() (engine io.ReadWriteCloser, from io.Reader, err error) {
	if a.plain != nil {
		plain := a.plain
		a.plain = nil
		return plain.Hijack()
	}
	engine, ok := a.h2.Body.(io.ReadWriteCloser)
	if !ok {
		return nil, nil, errors.New("the engine's connection cannot switch protocols")
	}
	a.h2.loan.recall()
	a.h2 = nil
	return engine, engine, nil
}

// unread returns what is left in r followed by what c brings.
func unread(r *bufio.Reader, c net.Conn) io.Reader {
	n := r.Buffered()
	if n == 0 {
		return c
	}
	early, _ := r.Peek(n) // these bytes are there
	return io.MultiReader(bytes.NewReader(bytes.Clone(early)), c)
}

// switchingHead is the 101 answer. A hijacked connection takes it as bytes.
func (x *exchange) switchingHead() []byte {
	h := x.w.Header()
	x.copyAnswerHeader(x.reply.header)
	delete(h, "Content-Type")
	h["Connection"] = []string{"Upgrade"}
	h["Upgrade"] = x.r.Header["Upgrade"]
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 101 Switching Protocols\r\n")
	_ = h.Write(&b) // to memory
	b.WriteString("\r\n")
	return b.Bytes()
}

// carry copies in both directions until either ends, then closes both connections:
// WebSocket has its own way to close in order, so a bare end means that it is over.
func carry(client net.Conn, fromClient io.Reader, engine io.ReadWriteCloser, fromEngine io.Reader) (in, out int64) {
	var both sync.WaitGroup
	both.Go(func() {
		in, _ = io.Copy(engine, fromClient)
		client.Close()
		engine.Close()
	})
	out, _ = io.Copy(client, fromEngine)
	client.Close()
	engine.Close()
	both.Wait()
	return in, out
}
