package extproc

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	connectTimeout = 2 * time.Second
	// maxMessageBytes bounds one message of a picker.
	maxMessageBytes = 4 << 20
	maxHeadBytes    = 64 << 10
)

// target is where and how a picker is reached.
type target struct {
	address   string // host:port
	plaintext bool
}

// connection is one HTTP/2 connection, made and made again as it is needed.
type connection struct {
	*grpc.ClientConn
	target target
	// Guarded by connections.mu. A connection that has left is closed with its last
	// stream.
	streams int
	left    bool
}

// connections holds one connection per target.
type connections struct {
	dial func(ctx context.Context, address string) (net.Conn, error)

	mu     sync.Mutex
	open   map[target]*connection
	kept   map[target]bool // by the last retain; nil before
	closed bool
}

var errClosed = errors.New("client is closed")

// take returns the connection to t for one stream.
func (c *connections) take(t target) (*connection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	n := c.open[t]
	if n == nil {
		cc, err := grpc.NewClient("passthrough:///"+t.address, c.options(t)...)
		if err != nil {
			return nil, err
		}
		// A request that still holds an older snapshot must not bring back for good
		// what retain let go.
		n = &connection{ClientConn: cc, target: t, left: c.kept != nil && !c.kept[t]}
		c.open[t] = n
	}
	n.streams++
	return n, nil
}

func (c *connections) options(t target) []grpc.DialOption {
	secure := insecure.NewCredentials()
	if !t.plaintext {
		// Pickers make their own certificates; see docs/decisions/0007.
		secure = credentials.NewTLS(&tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
	}
	return []grpc.DialOption{
		grpc.WithTransportCredentials(secure),
		grpc.WithContextDialer(c.dial),
		grpc.WithNoProxy(),
		grpc.WithDisableServiceConfig(),
		grpc.WithUserAgent("crossfade"),
		grpc.WithMaxHeaderListSize(maxHeadBytes),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)),
		// A picker that comes back is to be noticed soon: until then requests fail.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: connectTimeout,
		}),
	}
}

// give ends a stream's use of n. A connection on which a picker fell silent is
// suspect: new streams get another.
func (c *connections) give(n *connection, suspect bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n.streams--
	n.left = n.left || suspect
	if suspect && c.open[n.target] == n {
		delete(c.open, n.target)
	}
	c.closeIdle(n)
}

// closeIdle closes n when nobody will use it again.
func (c *connections) closeIdle(n *connection) {
	if !n.left || n.streams > 0 {
		return
	}
	if c.open[n.target] == n {
		delete(c.open, n.target)
	}
	_ = n.Close() // it fails only when it is closed already
}

func (c *connections) retain(keep map[target]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = keep
	for t, n := range c.open {
		n.left = !keep[t]
		c.closeIdle(n)
	}
}

func (c *connections) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	for t, n := range c.open {
		delete(c.open, t)
		_ = n.Close()
	}
}
