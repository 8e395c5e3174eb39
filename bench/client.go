//go:build linux

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
)

// A client is one keep-alive connection with at most one request on the way.
type client struct {
	id    int
	addr  netip.AddrPort
	fd    int
	reply reply
	asked time.Time // when the request on the way was due
	busy  bool
}

var errClosedEarly = errors.New("connection closed before the response was complete")

// dial connects c and makes it ready for a request.
func (c *client) dial(p *poller) error {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	c.fd, c.busy = fd, false
	c.reply.reset()
	err = syscall.Connect(fd, &syscall.SockaddrInet4{Addr: c.addr.Addr().As4(), Port: int(c.addr.Port())})
	if err != nil {
		return fmt.Errorf("connect to %s: %w", c.addr, errors.Join(err, syscall.Close(fd)))
	}
	return errors.Join(
		syscall.SetsockoptInt(fd, syscall.IPPROTO_TCP, syscall.TCP_NODELAY, 1),
		syscall.SetNonblock(fd, true),
		p.add(fd, c.id))
}

// ask writes a whole request. It is small enough for an idle socket to take at once.
func (c *client) ask(request []byte) error {
	c.reply.reset()
	n, err := syscall.Write(c.fd, request)
	if err != nil {
		return fmt.Errorf("write: %w", err)
	}
	if n < len(request) {
		return fmt.Errorf("write: the socket took %d of %d bytes", n, len(request))
	}
	c.busy = true
	return nil
}

// receive reads once into the reply.
func (c *client) receive(buf []byte) error {
	n, err := syscall.Read(c.fd, buf)
	switch {
	case err == syscall.EAGAIN || err == syscall.EINTR:
		return nil
	case err != nil:
		return fmt.Errorf("read: %w", err)
	case n == 0:
		return errClosedEarly
	}
	if !c.busy {
		return fmt.Errorf("%d bytes that nothing asked for", n)
	}
	return c.reply.feed(buf[:n])
}

// A connectionSet is several clients of one address, watched by one poller.
type connectionSet struct {
	poller  *poller
	clients []*client
	buf     [64 << 10]byte
}

// connect opens n connections to addr.
func connect(addr string, n int) (*connectionSet, error) {
	target, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address of a target: %w", err)
	}
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	s := &connectionSet{poller: p}
	for i := range n {
		c := &client{id: i, addr: target}
		if err := c.dial(p); err != nil {
			return nil, errors.Join(err, s.close())
		}
		s.clients = append(s.clients, c)
	}
	return s, nil
}

func (s *connectionSet) redial(c *client) error {
	if err := syscall.Close(c.fd); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return c.dial(s.poller)
}

func (s *connectionSet) close() error {
	var errs []error
	for _, c := range s.clients {
		errs = append(errs, syscall.Close(c.fd))
	}
	return errors.Join(append(errs, s.poller.close())...)
}
