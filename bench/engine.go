//go:build linux

package main

import (
	"bytes"
	"container/heap"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

// An engine is a stand-in for model servers: one thread that serves several ports,
// each belonging to a group. Its answers are made in advance.
type engine struct {
	poller    *poller
	listeners map[int]*listener
	conns     []*engineConn // by descriptor
	streams   streamQueue
	buf       [64 << 10]byte
}

// A listener is one port, one model server to those who connect.
type listener struct {
	group, model string
	answers      map[string][]byte // whole responses by requested model
}

type engineConn struct {
	fd     int
	on     *listener
	in     []byte // an incomplete request
	out    []byte // what the socket did not take
	stream *engineStream
}

// engineAddresses is what the engine prints once it serves: its ports by group.
type engineAddresses map[string][]string

// runEngine serves perGroup ports for each group until the process is killed.
func runEngine(perGroup int, out io.Writer) error {
	p, err := newPoller()
	if err != nil {
		return err
	}
	e := &engine{poller: p, listeners: map[int]*listener{}}
	addresses := engineAddresses{}
	for _, g := range groups() {
		for range perGroup {
			port, err := e.listen(g)
			if err != nil {
				return err
			}
			addresses[g.name] = append(addresses[g.name], "127.0.0.1:"+strconv.Itoa(port))
		}
	}
	if err := json.NewEncoder(out).Encode(addresses); err != nil {
		return err
	}
	for {
		if err := e.turn(); err != nil {
			return err
		}
	}
}

func (e *engine) listen(g group) (port int, err error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("socket: %w", err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, fmt.Errorf("bind: %w", err)
	}
	if err := syscall.Listen(fd, 4096); err != nil {
		return 0, fmt.Errorf("listen: %w", err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, fmt.Errorf("getsockname: %w", err)
	}
	e.listeners[fd] = &listener{group: g.name, model: g.model, answers: map[string][]byte{}}
	return name.(*syscall.SockaddrInet4).Port, e.poller.add(fd, fd)
}

// turn handles what is ready and then the events that streams owe.
func (e *engine) turn() error {
	events, err := e.poller.wait(e.streams.wait(time.Now()))
	if err != nil {
		return err
	}
	for _, ev := range events {
		fd := int(ev.Fd)
		if l := e.listeners[fd]; l != nil {
			e.accept(fd, l)
			continue
		}
		if c := e.conns[fd]; c != nil {
			e.serve(c, ev.Events)
		}
	}
	e.sendDue(time.Now())
	return nil
}

func (e *engine) accept(fd int, l *listener) {
	for {
		nfd, _, err := syscall.Accept4(fd, syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC)
		if err != nil {
			return // nothing left to accept, or the peer is gone already
		}
		// Without this a small write can wait for an acknowledgement; best effort.
		_ = syscall.SetsockoptInt(nfd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1)
		for len(e.conns) <= nfd {
			e.conns = append(e.conns, nil)
		}
		c := &engineConn{fd: nfd, on: l}
		e.conns[nfd] = c
		if err := e.poller.add(nfd, nfd); err != nil {
			e.drop(c)
		}
	}
}

func (e *engine) drop(c *engineConn) {
	e.conns[c.fd] = nil
	if c.stream != nil {
		c.stream.conn = nil // its place in the queue is left to expire
		c.stream = nil
	}
	_ = syscall.Close(c.fd)
}

func (e *engine) serve(c *engineConn, events uint32) {
	if events&syscall.EPOLLOUT != 0 && !e.flush(c) {
		return
	}
	if events&^syscall.EPOLLOUT == 0 {
		return
	}
	n, err := syscall.Read(c.fd, e.buf[:])
	if err == syscall.EAGAIN || err == syscall.EINTR {
		return
	}
	if err != nil || n == 0 {
		e.drop(c)
		return
	}
	p := e.buf[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, p...)
		p = c.in
	}
	rest, ok := e.answerAll(c, p)
	if !ok {
		e.drop(c)
		return
	}
	c.in = append(c.in[:0], rest...)
}

// answerAll answers every complete request at the start of p and returns the rest;
// ok is false when the connection is of no more use.
func (e *engine) answerAll(c *engineConn, p []byte) (rest []byte, ok bool) {
	for len(p) > 0 {
		h, complete, err := parseHead(p)
		if err != nil || h.chunked {
			return nil, false
		}
		size := h.size + max(h.length, 0)
		if !complete || len(p) < size {
			return p, len(p) <= maxHead
		}
		if !e.answer(c, h.start, p[h.size:size]) {
			return nil, false
		}
		p = p[size:]
	}
	return p, true
}

func (e *engine) answer(c *engineConn, start, body []byte) bool {
	if !bytes.HasPrefix(start, []byte("POST ")) {
		return e.send(c, c.on.side(start))
	}
	model := stringField(body, `"model"`)
	if !bytes.Contains(body, []byte(`"stream":true`)) {
		return e.send(c, c.on.answer(model))
	}
	s, err := newStream(c, start, string(model))
	if err != nil {
		return false
	}
	c.stream = s
	heap.Push(&e.streams, s)
	return e.send(c, []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"+
		"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"))
}

func (l *listener) answer(model []byte) []byte {
	if r := l.answers[string(model)]; r != nil {
		return r
	}
	r := response("application/json", answerBody(l.group, string(model)))
	if len(l.answers) < 16 { // a handful of names is all a run asks for
		l.answers[string(model)] = r
	}
	return r
}

// side answers what gateways ask model servers between requests.
func (l *listener) side(start []byte) []byte {
	switch _, path, _ := bytes.Cut(start, []byte(" ")); {
	case bytes.HasPrefix(path, []byte("/v1/models")):
		return response("application/json", fmt.Appendf(nil, `{"object":"list","data":[{"id":%q,"object":"model"}]}`, l.model))
	case bytes.HasPrefix(path, []byte("/metrics")):
		return response("text/plain; version=0.0.4", fmt.Appendf(nil,
			"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running{model_name=%q} 1\n"+
				"# TYPE vllm:num_requests_waiting gauge\nvllm:num_requests_waiting{model_name=%q} 0\n"+
				"# TYPE vllm:kv_cache_usage_perc gauge\nvllm:kv_cache_usage_perc{model_name=%q} 0.1\n", l.model, l.model, l.model))
	}
	return response("text/plain", []byte("ok\n"))
}

func response(contentType string, body []byte) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: bench\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", contentType, len(body), body)
}

// send writes p, or keeps what the socket does not take; false when the peer is gone.
func (e *engine) send(c *engineConn, p []byte) bool {
	if len(c.out) == 0 {
		n, err := syscall.Write(c.fd, p)
		if n == len(p) {
			return true
		}
		if err != nil && err != syscall.EAGAIN {
			return false
		}
		p = p[max(n, 0):]
	}
	if len(c.out) > 1<<20 {
		return false // a reader this slow is a fault of the run
	}
	c.out = append(c.out, p...)
	return e.poller.want(c.fd, c.fd, true) == nil
}

func (e *engine) flush(c *engineConn) bool {
	n, err := syscall.Write(c.fd, c.out)
	if err != nil && err != syscall.EAGAIN {
		e.drop(c)
		return false
	}
	c.out = c.out[:copy(c.out, c.out[max(n, 0):])]
	if len(c.out) == 0 && e.poller.want(c.fd, c.fd, false) != nil {
		e.drop(c)
		return false
	}
	return true
}

var errStreamQuery = errors.New("a stream needs ?chunks=N&every=DURATION")

// newStream reads how many events to send, and how far apart, from the query of a
// request's first line.
func newStream(c *engineConn, start []byte, model string) (*engineStream, error) {
	_, query, _ := bytes.Cut(start, []byte("?"))
	query, _, _ = bytes.Cut(query, []byte(" "))
	v, err := url.ParseQuery(string(query))
	if err != nil {
		return nil, errStreamQuery
	}
	chunks, err1 := strconv.Atoi(v.Get("chunks"))
	every, err2 := time.ParseDuration(v.Get("every"))
	if err := errors.Join(err1, err2); err != nil || chunks < 1 || every <= 0 {
		return nil, errStreamQuery
	}
	return &engineStream{conn: c, model: model, left: chunks, every: every, due: time.Now()}, nil
}
