package extproc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/scheduling"
)

// Options of a Client; the zero value is usable.
type Options struct {
	// Timeout bounds the wait for a choice, and for a reply while the answer passes
	// through; default a minute, for pickers may hold requests back until an
	// endpoint is free. Pickers may ask for more, up to ten minutes
	// (override_message_timeout).
	Timeout time.Duration
	// MaxBodyBytes bounds the request body that a picker may put in place of
	// another, and what is held of one answer; default 32 MiB.
	MaxBodyBytes int
	// BufferBytes bounds what all Calls hold together; default 256 MiB.
	BufferBytes int64
	// Logger takes one line whenever a pool's picker begins or ceases to fail; nil
	// means slog.Default.
	Logger *slog.Logger
	// Dial makes a connection to host:port; nil means a net.Dialer.
	Dial func(ctx context.Context, address string) (net.Conn, error)
}

const (
	defaultTimeout   = time.Minute
	longestTimeout   = 10 * time.Minute
	defaultBodyBytes = 32 << 20
	defaultBuffer    = 256 << 20
)

func (o Options) withDefaults() Options {
	if o.Timeout <= 0 {
		o.Timeout = defaultTimeout
	}
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = defaultBodyBytes
	}
	if o.BufferBytes <= 0 {
		o.BufferBytes = defaultBuffer
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Dial == nil {
		d := &net.Dialer{Timeout: connectTimeout}
		o.Dial = func(ctx context.Context, address string) (net.Conn, error) { return d.DialContext(ctx, "tcp", address) }
	}
	return o
}

// A Client asks the external pickers of pools. It is safe for concurrent use.
type Client struct {
	opts        Options
	connections connections
	memory      atomic.Int64   // held by all Calls, in bytes
	parting     sync.WaitGroup // streams whose end is awaited

	mu      sync.Mutex
	pools   map[*routing.Pool]*prepared
	pickers map[string]*picker // by Pool.ID
}

// picker is what is known of the picker of one pool.
type picker struct {
	next    atomic.Uint32 // which of its endpoints is asked first
	failing atomic.Bool   // what was last told of it
	told    atomic.Int64  // of the last complaint, in Unix nanoseconds; 0 for none
}

// prepared is what all Calls for one pool of one snapshot share.
type prepared struct {
	*picker
	hint []byte // the subset hint, encoded as a field of a ProcessingRequest
}

// New returns a Client. It connects to nobody.
func New(o Options) *Client {
	c := &Client{opts: o.withDefaults(), pools: map[*routing.Pool]*prepared{}, pickers: map[string]*picker{}}
	c.connections.dial = c.opts.Dial
	c.connections.open = map[target]*connection{}
	return c
}

// Begin returns the Call for one request to pool, whose Picker must not be nil. It
// ends with ctx and must be closed.
func (c *Client) Begin(ctx context.Context, pool *routing.Pool) *Call {
	return newCall(ctx, c, pool, c.prepare(pool))
}

func (c *Client) prepare(pool *routing.Pool) *prepared {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.pools[pool]; p != nil {
		return p
	}
	state := c.pickers[pool.ID]
	if state == nil {
		state = &picker{}
		c.pickers[pool.ID] = state
	}
	p := &prepared{picker: state, hint: subsetHint(pool)}
	c.pools[pool] = p
	return p
}

// Retain lets go of what the snapshot does not have: connections close when their
// last stream has ended.
func (c *Client) Retain(s *routing.Snapshot) {
	keep := map[target]bool{}
	for _, p := range s.Pools {
		if p.Picker != nil {
			for _, address := range p.Picker.Endpoints {
				keep[target{address, p.Picker.Plaintext}] = true
			}
		}
	}
	c.connections.retain(keep)
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range c.pools {
		if s.Pools[p.ID] != p {
			delete(c.pools, p)
		}
	}
	for id := range c.pickers {
		if p := s.Pools[id]; p == nil || p.Picker == nil {
			delete(c.pickers, id)
		}
	}
}

// Close closes all connections, which ends the streams on them, and waits for what
// is left of closed Calls.
func (c *Client) Close() {
	c.connections.close()
	c.parting.Wait()
}

// quiet is the least time between two complaints about one picker: one that fails now
// and then must not fill the log.
const quiet = 5 * time.Second

// judge logs when a picker begins or ceases to fail.
func (c *Client) judge(pool *routing.Pool, p *picker, err error) {
	failing := errors.Is(err, scheduling.ErrExternal)
	if p.failing.Load() == failing {
		return
	}
	now, told := time.Now().UnixNano(), p.told.Load()
	if failing && (told != 0 && now-told < int64(quiet) || !p.told.CompareAndSwap(told, now)) {
		return
	}
	if p.failing.Swap(failing) == failing {
		return
	}
	if failing {
		c.opts.Logger.Warn("endpoint picker fails", "pool", pool.Name, "picker", pool.Picker.Service, "fail_open", pool.Picker.FailOpen, "error", err)
		return
	}
	c.opts.Logger.Info("endpoint picker answers again", "pool", pool.Name, "picker", pool.Picker.Service)
}
