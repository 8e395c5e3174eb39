package upstream

import (
	"sync"
	"time"
)

// A pool keeps idle connections by address, the one used last on top, so that under light load
// the rest grow old and are closed. No goroutine watches a connection: a timer that runs only
// while something is pooled closes the old ones and forgets addresses with none left, so that
// endpoints which come and go leave nothing behind.
type pool struct {
	maxPerHost int
	maxIdle    time.Duration

	mu     sync.Mutex
	hosts  map[string]*host
	sweep  *time.Timer // nil while hosts is empty
	age    uint64      // sweeps so far: the clock by which connections grow old
	closed bool
}

// A host is the idle connections of one address, oldest first.
type host struct{ idle []*conn }

func newPool(maxPerHost int, maxIdle time.Duration) *pool {
	return &pool{maxPerHost: maxPerHost, maxIdle: maxIdle, hosts: make(map[string]*host)}
}

// get takes the connection to addr that went idle last, or nil.
func (p *pool) get(addr string) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hosts[addr]
	if h == nil || len(h.idle) == 0 {
		return nil
	}
	last := len(h.idle) - 1
	c := h.idle[last]
	h.idle[last] = nil
	h.idle = h.idle[:last]
	return c
}

// put keeps c for the next request, or closes it when there is no room.
func (p *pool) put(c *conn) {
	if !p.keep(c) {
		c.close()
	}
}

func (p *pool) keep(c *conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	h := p.hosts[c.addr]
	if h == nil {
		if p.maxPerHost <= 0 {
			return false
		}
		h = &host{}
		p.hosts[c.addr] = h
		if p.sweep == nil {
			p.sweep = time.AfterFunc(p.maxIdle/2, p.expire)
		}
	}
	if len(h.idle) >= p.maxPerHost {
		return false
	}
	c.idleSince = p.age
	h.idle = append(h.idle, c)
	return true
}

// expire closes the connections that were idle for too long and comes again while any address
// is known.
func (p *pool) expire() {
	for _, c := range p.takeOld() {
		c.close()
	}
}

// takeOld removes the connections that were there for three sweeps, half of maxIdle apart: the
// first may have come at once.
func (p *pool) takeOld() []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.age++
	var old []*conn
	for addr, h := range p.hosts {
		n := 0
		for n < len(h.idle) && p.age-h.idle[n].idleSince >= 3 {
			n++
		}
		if n == len(h.idle) {
			delete(p.hosts, addr)
		}
		old = append(old, h.idle[:n]...)
		left := copy(h.idle, h.idle[n:])
		clear(h.idle[left:])
		h.idle = h.idle[:left]
	}
	if len(p.hosts) == 0 || p.closed {
		p.sweep = nil
	} else {
		p.sweep.Reset(p.maxIdle / 2)
	}
	return old
}

// close closes every idle connection and keeps none from now on.
func (p *pool) close() {
	p.mu.Lock()
	hosts := p.hosts
	p.hosts, p.closed = nil, true
	if p.sweep != nil {
		p.sweep.Stop()
		p.sweep = nil
	}
	p.mu.Unlock()
	for _, h := range hosts {
		for _, c := range h.idle {
			c.close()
		}
	}
}
