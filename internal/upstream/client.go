package upstream

import (
	"context"
	"errors"
	"net"
	"time"
)

// Options tells a Client how to connect and how much to keep. Zero values mean the defaults.
type Options struct {
	// DialTimeout bounds the making of one connection; default 10 s.
	DialTimeout time.Duration
	// MaxIdlePerHost is how many idle connections are kept for one endpoint; default 256,
	// negative means none.
	MaxIdlePerHost int
	// IdleTimeout is how long an idle connection is kept; default 30 s. It is closed between
	// this time and half as much more.
	IdleTimeout time.Duration
	// MaxHeaderBytes bounds a response head, all interim responses to one request together, and
	// a trailer section, each; default 64 KiB.
	MaxHeaderBytes int
	// Dial makes a connection; default a net.Dialer's DialContext.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

func (o Options) withDefaults() Options {
	if o.DialTimeout <= 0 {
		o.DialTimeout = 10 * time.Second
	}
	if o.MaxIdlePerHost == 0 {
		o.MaxIdlePerHost = 256
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 30 * time.Second
	}
	if o.MaxHeaderBytes <= 0 {
		o.MaxHeaderBytes = 64 << 10
	}
	if o.Dial == nil {
		o.Dial = new(net.Dialer).DialContext
	}
	return o
}

// A Client sends requests to endpoints and keeps their connections alive. It is safe for use by
// many goroutines.
type Client struct {
	opts   Options
	pool   *pool
	reads  *bufferPool
	writes *bufferPool
}

// New returns a Client. It starts nothing and connects to nobody.
func New(opts Options) *Client {
	opts = opts.withDefaults()
	return &Client{
		opts:   opts,
		pool:   newPool(opts.MaxIdlePerHost, opts.IdleTimeout),
		reads:  &bufferPool{size: readSize},
		writes: &bufferPool{size: writeSize},
	}
}

// Close closes the idle connections. Those in use are closed when their exchange ends; a Client
// that is used further keeps no connections.
func (c *Client) Close() { c.pool.close() }

// Do sends req to addr (ip:port) and returns once the head of the response has arrived. The
// error is an *Error. When ctx ends, during Do or later while the Response is read, the
// connection is closed at once.
func (c *Client) Do(ctx context.Context, addr string, req *Request) (*Response, error) {
	if err := req.check(); err != nil {
		return nil, &Error{Op: OpRequest, Addr: addr, Err: err}
	}
	for fresh := false; ; {
		head, whole, err := c.render(req, addr)
		if err != nil {
			return nil, &Error{Op: OpRequest, Addr: addr, Err: err}
		}
		cn, err := c.connect(ctx, addr, fresh)
		if err != nil {
			c.writes.put(head)
			return nil, err
		}
		resp, err := c.exchange(ctx, cn, req, head, whole)
		switch {
		case err == nil:
			return resp, nil
		case errors.Is(err, errStale):
			// Nothing was written: as if that connection had never been in the pool.
		case hungUp(err) && req.replayable():
			fresh = true
		default:
			return nil, err
		}
	}
}

// hungUp says whether a failure looks like a server that closed an idle connection while the
// request was on its way: not the request's fault, and not the endpoint's.
func hungUp(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Reused && e.BeforeFirstByte && !e.Timeout &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

// render writes the request's head into a buffer, and the body behind it if all of it has room.
func (c *Client) render(req *Request, addr string) (out *buffer, whole bool, err error) {
	out, size := c.writes.get(), req.size()
	head, err := appendHead(out.data[:0], req, addr, size)
	if err != nil {
		c.writes.put(out)
		return nil, false, err
	}
	out.data, out.w = head[:cap(head)], len(head)
	if req.Stream != nil && size != 0 || size > int64(len(out.data)-out.w) {
		return out, false, nil
	}
	for _, part := range req.Body {
		out.w += copy(out.data[out.w:], part)
	}
	return out, true, nil
}

// connect takes an idle connection to addr or makes one.
func (c *Client) connect(ctx context.Context, addr string, fresh bool) (*conn, error) {
	if err := ctx.Err(); err != nil {
		return nil, &Error{Op: OpDial, Addr: addr, BeforeFirstByte: true, Err: err}
	}
	if !fresh {
		if cn := c.pool.get(addr); cn != nil {
			cn.reused = true
			return cn, nil
		}
	}
	dialing, cancel := context.WithTimeout(ctx, c.opts.DialTimeout)
	defer cancel()
	nc, err := c.opts.Dial(dialing, "tcp", addr)
	if err == nil {
		return newConn(nc, addr, c.writes), nil
	}
	e := &Error{Op: OpDial, Addr: addr, BeforeFirstByte: true, Err: err}
	if ctx.Err() != nil {
		e.Err = ctx.Err()
	} else {
		var timeout net.Error
		e.Timeout = dialing.Err() != nil || errors.As(err, &timeout) && timeout.Timeout()
	}
	return nil, e
}
