package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/upstream"
	"golang.org/x/net/http/httpguts"
)

// newH2CTransport returns the client for pools that speak HTTP/2 in clear text.
func newH2CTransport() *http.Transport {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	return &http.Transport{
		Protocols:              &only,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		DisableCompression:     true, // the answer passes as the engine sent it
		IdleConnTimeout:        time.Minute,
		MaxResponseHeaderBytes: 64 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second},
	}
}

// transportResponse is an answer of net/http's client with what must end together with it.
type transportResponse struct {
	*http.Response
	addr  string
	loan  *loan
	watch *watch
}

var (
	errFirstByte  = errors.New("no answer began in time")
	errStreamIdle = errors.New("the answer fell silent")
)

// sendByTransport does what sendPlain does, over HTTP/2 or TLS, by net/http's
// client.
func (x *exchange) sendByTransport(ctx context.Context) error {
	ctx, watch := newWatch(ctx, x.out.FirstByteTimeout, errFirstByte)
	lent := &loan{body: x.out.Body, informed: x.out.Informational}
	addr := x.decision.Endpoint.Address
	response, err := x.proxy.transport(x.pool, x.visit.Listener.Identity).RoundTrip(x.transportRequest(ctx, addr, lent))
	if err != nil {
		watch.end()
		lent.recall()
		return transportError(ctx, addr, err)
	}
	watch.expect(x.out.IdleTimeout, errStreamIdle)
	if response.StatusCode == http.StatusSwitchingProtocols {
		watch.expect(0, nil) // what follows is as silent as it likes
	}
	x.reply = reply{
		h2:     &transportResponse{Response: response, addr: addr, loan: lent, watch: watch},
		status: response.StatusCode, header: response.Header, length: response.ContentLength,
	}
	return nil
}

// newTransportRequest makes a request of out, without its body, for net/http's client.
func newTransportRequest(ctx context.Context, pool *routing.Pool, addr string, out *upstream.Request) *http.Request {
	r := (&http.Request{
		Method: out.Method,
		URL:    targetURL(pool, addr, out.Target),
		Host:   out.Host,
		// A copy: the client may still read it when its exchange is long over.
		Header: out.Header.Clone(),
	}).WithContext(ctx)
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = []string{""} // else the client would name itself
	}
	return r
}

// transportRequest makes the request of x.out for net/http's client.
func (x *exchange) transportRequest(ctx context.Context, addr string, lent *loan) *http.Request {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: lent.inform})
	r := newTransportRequest(ctx, x.pool, addr, &x.out)
	if x.out.Upgrade {
		r.Header["Connection"] = []string{"Upgrade"}
	}
	if x.pool.Protocol == routing.H2C && httpguts.HeaderValuesContainsToken(x.r.Header["Te"], "trailers") {
		r.Header["Te"] = []string{"trailers"} // gRPC insists
	}
	if x.upload != nil {
		r.Body, r.ContentLength = io.NopCloser(x.upload), x.out.ContentLength
	} else {
		lent.lend(r)
	}
	return r
}

// targetURL makes a URL that is sent as target is, byte for byte.
func targetURL(pool *routing.Pool, addr, target string) *url.URL {
	scheme := "http"
	if pool.TLS != nil {
		scheme = "https"
	}
	if !strings.HasPrefix(target, "//") {
		return &url.URL{Scheme: scheme, Host: addr, Opaque: target}
	}
	// Opaque cannot begin with two slashes.
	path, query, found := strings.Cut(target, "?")
	plain, err := url.PathUnescape(path)
	if err != nil {
		plain = path
	}
	return &url.URL{Scheme: scheme, Host: addr, Path: plain, RawPath: path, RawQuery: query, ForceQuery: found}
}

// transportError says in upstream's words what went wrong before the answer.
func transportError(ctx context.Context, addr string, err error) error {
	e := &upstream.Error{Op: upstream.OpHead, Addr: addr, BeforeFirstByte: true, Err: err}
	if noConnection(err) {
		e.Op = upstream.OpDial
	}
	e.Timeout = context.Cause(ctx) == errFirstByte
	return e
}

// Read reads the body. Its error other than io.EOF is an *upstream.Error.
func (r *transportResponse) Read(p []byte) (int, error) {
	n, err := r.Body.Read(p)
	r.watch.rearm()
	if err != nil && err != io.EOF {
		err = &upstream.Error{Op: upstream.OpBody, Addr: r.addr, Timeout: r.watch.cause() == errStreamIdle, Err: err}
	}
	return n, err
}

// Close resets the stream if it has not ended.
func (r *transportResponse) Close() error {
	r.watch.end()
	r.loan.recall()
	return r.Body.Close()
}

// A watch ends a context when something does not happen for a while: one timer
// for the whole answer, and none when there is nothing to watch for.
type watch struct {
	mu     sync.Mutex // whoever closes an answer need not be who reads it
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	period time.Duration
}

func newWatch(ctx context.Context, period time.Duration, cause error) (context.Context, *watch) {
	w := &watch{}
	w.ctx, w.cancel = context.WithCancelCause(ctx)
	w.expect(period, cause)
	return w.ctx, w
}

// expect watches for something else from now on.
func (w *watch) expect(period time.Duration, cause error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	if w.period = period; period > 0 {
		w.timer = time.AfterFunc(period, func() { w.cancel(cause) })
	}
}

func (w *watch) rearm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Reset(w.period)
	}
}

func (w *watch) end() {
	w.expect(0, nil)
	w.cancel(context.Canceled)
}

func (w *watch) cause() error { return context.Cause(w.ctx) }

// loan is what net/http's client borrows of an exchange. It may go on using it
// when the exchange is over and its memory someone else's, so it asks here first.
type loan struct {
	mu       sync.Mutex
	body     [][]byte
	informed func(status int, header http.Header)
}

// recall takes everything back; later reads find nothing.
func (l *loan) recall() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.body, l.informed = nil, nil
}

// lend makes what is borrowed the body of r.
func (l *loan) lend(r *http.Request) {
	if len(l.body) == 0 {
		return
	}
	r.Body, _ = l.reader()
	for _, part := range l.body {
		r.ContentLength += int64(len(part))
	}
	// For a connection that went away before it took the request.
	r.GetBody = l.reader
}

// inform passes a 1xx response on.
func (l *loan) inform(status int, header textproto.MIMEHeader) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.informed != nil {
		l.informed(status, http.Header(header))
	}
	return nil
}

// reader returns a new reader of the whole body.
func (l *loan) reader() (io.ReadCloser, error) { return &loanReader{loan: l}, nil }

type loanReader struct {
	loan     *loan
	part, at int // the next byte is body[part][at]
}

// Read copies the next bytes.
func (r *loanReader) Read(p []byte) (n int, err error) {
	r.loan.mu.Lock()
	defer r.loan.mu.Unlock()
	for n < len(p) {
		if r.part >= len(r.loan.body) {
			return n, io.EOF
		}
		part := r.loan.body[r.part]
		c := copy(p[n:], part[r.at:])
		n, r.at = n+c, r.at+c
		if r.at == len(part) {
			r.part, r.at = r.part+1, 0
		}
	}
	return n, nil
}

// Close does nothing: the memory is the exchange's.
func (r *loanReader) Close() error { return nil }
