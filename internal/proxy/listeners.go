package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"crossfade.dev/internal/routing"
)

// ListenerOptions say where Listeners listen.
type ListenerOptions struct {
	// Bind is the address of all ports; "" means every address of the machine.
	Bind string
	// Listen opens a port; nil means TCP.
	Listen func(ctx context.Context, network, address string) (net.Listener, error)
}

// Listeners are the open ports of a Proxy and the servers behind them. Its
// goroutines, one per port, are gone when Shutdown returns.
type Listeners struct {
	proxy   *Proxy
	options ListenerOptions

	// base is the context of every request; its end cuts them all.
	base context.Context
	cut  context.CancelCauseFunc

	mu      sync.Mutex
	closed  bool
	open    map[uint16]*portServer
	closing map[*portServer]struct{} // closed ports with requests still under way
	running sync.WaitGroup
}

type portServer struct {
	server *http.Server
	socket net.Listener
}

// PortError says why a port is not open.
type PortError struct {
	Port uint16
	Err  error
}

// Error names the port.
func (e PortError) Error() string {
	return "listen on port " + strconv.Itoa(int(e.Port)) + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e PortError) Unwrap() error { return e.Err }

// NewListeners returns Listeners without a port.
func NewListeners(p *Proxy, o ListenerOptions) *Listeners {
	if o.Listen == nil {
		o.Listen = new(net.ListenConfig).Listen
	}
	l := &Listeners{proxy: p, options: o, open: map[uint16]*portServer{}, closing: map[*portServer]struct{}{}}
	l.base, l.cut = context.WithCancelCause(context.Background())
	return l
}

// Sync opens and closes ports until they are those given, and returns those that
// could not be opened; the next Sync tries them again. Ports that stay are not
// touched. A port that closes lets its requests end.
//
// Whether a port speaks TLS is looked up in the Proxy's Snapshot for each
// connection, so publish first.
func (l *Listeners) Sync(ctx context.Context, ports []*routing.Port) []PortError {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	wanted := map[uint16]bool{}
	for _, p := range ports {
		wanted[p.Number] = true
	}
	for number, s := range l.open {
		if !wanted[number] {
			l.close(number, s)
		}
	}
	var failed []PortError
	for _, p := range ports {
		if l.open[p.Number] != nil {
			continue
		}
		if err := l.listen(ctx, p.Number); err != nil {
			failed = append(failed, PortError{p.Number, err})
		}
	}
	return failed
}

// Addr is where a port listens, nil when it is not open.
func (l *Listeners) Addr(port uint16) net.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s := l.open[port]; s != nil {
		return s.socket.Addr()
	}
	return nil
}

func (l *Listeners) listen(ctx context.Context, port uint16) error {
	socket, err := l.options.Listen(ctx, "tcp", net.JoinHostPort(l.options.Bind, strconv.Itoa(int(port))))
	if err != nil {
		return err
	}
	s := &portServer{server: l.newServer(port), socket: socket}
	l.open[port] = s
	l.running.Go(func() {
		err := s.server.Serve(&clientListener{Listener: socket, proxy: l.proxy, port: port, tls: l.proxy.tlsConfig(port)})
		if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			l.proxy.logger.Error("listener failed", "port", port, "error", err)
		}
	})
	return nil
}

// newServer returns the server of one port. It has no write timeout: answers may
// take a day.
func (l *Listeners) newServer(port uint16) *http.Server {
	p := l.proxy
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	// TLS is below what the server sees (clientConn), so this is h2 as well as h2c.
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:                      p.Handler(port),
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            max(p.timeouts.ReadHeader, 0),
		IdleTimeout:                  max(p.timeouts.Idle, 0),
		MaxHeaderBytes:               p.limits.MaxHeaderBytes,
		Protocols:                    &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: p.limits.MaxConcurrentStreams,
			SendPingTimeout:      time.Minute, // a peer that is gone must not hold streams
		},
		// What the server says concerns single clients that misbehave.
		ErrorLog:    slog.NewLogLogger(p.logger.Handler(), slog.LevelDebug),
		BaseContext: func(net.Listener) context.Context { return l.base },
		ConnContext: withConn,
	}
}

// clientListener makes a clientConn of each connection.
type clientListener struct {
	net.Listener
	proxy *Proxy
	port  uint16
	tls   *tls.Config
}

// Accept returns the next connection. A TLS handshake happens when it is read.
func (l *clientListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if s := l.proxy.Snapshot(); s != nil {
		if port := s.Port(l.port); port != nil && port.TLS {
			secure := tls.Server(c, l.tls)
			return &clientConn{Conn: secure, tls: secure}, nil
		}
	}
	return &clientConn{Conn: c}, nil
}

// close stops accepting on a port at once and lets its requests end. l.mu is held.
func (l *Listeners) close(number uint16, s *portServer) {
	delete(l.open, number)
	l.closing[s] = struct{}{}
	s.socket.Close()
	l.running.Go(func() {
		// Ends with the last request, or when Shutdown closes the server.
		_ = s.server.Shutdown(l.base)
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.closing, s)
	})
}

// Leave asks clients to go: from now on each answer is the last one of its
// connection. Ports stay open. Shutdown closes connections that are idle, and one
// on which a client is just sending looks idle; so a Leave some time before it
// spares that client an error.
func (l *Listeners) Leave() { l.proxy.leaving.Store(true) }

// errDrained is the cause with which requests end that outlast the drain.
var errDrained = errors.New("the gateway's drain limit passed")

// cutGrace is how long requests that are cut have to tell their clients.
const cutGrace = time.Second

// Shutdown stops accepting, waits for requests and upgraded connections until ctx
// ends, and cuts what is left then: event streams get an error event first. It
// returns how many it cut. No method may be called after it.
func (l *Listeners) Shutdown(ctx context.Context) (left int) {
	servers := l.stop()
	var stopping sync.WaitGroup
	for _, s := range servers {
		stopping.Go(func() { _ = s.Shutdown(ctx) }) // its error is ctx's
	}
	stopping.Wait()
	// Servers do not wait for connections that were upgraded.
	l.await(ctx)
	left = l.proxy.Active()
	l.cut(errDrained)
	if left > 0 {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), cutGrace)
		defer cancel()
		l.await(grace)
	}
	for _, s := range servers {
		_ = s.Close() // of connections that are of no more use
	}
	l.running.Wait()
	return left
}

// stop closes every port and returns all servers.
func (l *Listeners) stop() []*http.Server {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	var servers []*http.Server
	for _, s := range l.open {
		servers = append(servers, s.server)
	}
	for s := range l.closing {
		servers = append(servers, s.server)
	}
	return servers
}

// await returns when no request is active or ctx has ended.
func (l *Listeners) await(ctx context.Context) {
	for wait := time.Millisecond; l.proxy.Active() > 0; wait = min(2*wait, 100*time.Millisecond) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
