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

// h2cResponse is an answer over HTTP/2 with what must end together with it.
type h2cResponse struct {
	*http.Response
	addr  string
	loan  *loan
	watch *watch
}

var (
	errFirstByte  = errors.New("no answer began in time")
	errStreamIdle = errors.New("the answer fell silent")
)

// sendH2C does what sendPlain does, over HTTP/2.
func (x *exchange) sendH2C(ctx context.Context) error {
	ctx, watch := newWatch(ctx, x.out.FirstByteTimeout, errFirstByte)
	lent := &loan{body: x.out.Body, informed: x.out.Informational}
	addr := x.decision.Endpoint.Address
	response, err := x.proxy.h2c.RoundTrip(x.h2cRequest(ctx, addr, lent))
	if err != nil {
		watch.end()
		lent.recall()
		return h2cError(ctx, addr, err)
	}
	watch.expect(x.out.IdleTimeout, errStreamIdle)
	x.reply = reply{
		h2:     &h2cResponse{Response: response, addr: addr, loan: lent, watch: watch},
		status: response.StatusCode, header: response.Header, length: response.ContentLength,
	}
	return nil
}

// h2cRequest makes the request of x.out for net/http's client.
func (x *exchange) h2cRequest(ctx context.Context, addr string, lent *loan) *http.Request {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{Got1xxResponse: lent.inform})
	r := (&http.Request{
		Method: x.out.Method,
		URL:    h2cURL(addr, x.out.Target),
		Host:   x.out.Host,
		// A copy: the client may still read it when this exchange is long over.
		Header: x.header.Clone(),
	}).WithContext(ctx)
	if httpguts.HeaderValuesContainsToken(x.r.Header["Te"], "trailers") {
		r.Header["Te"] = []string{"trailers"} // gRPC insists
	}
	if _, ok := r.Header["User-Agent"]; !ok {
		r.Header["User-Agent"] = []string{""} // else the client would name itself
	}
	switch {
	case x.upload != nil:
		r.Body, r.ContentLength = io.NopCloser(x.upload), x.out.ContentLength
	case len(x.out.Body) > 0:
		r.Body, _ = lent.reader()
		for _, part := range x.out.Body {
			r.ContentLength += int64(len(part))
		}
		// For a connection that went away before it took the request.
		r.GetBody = lent.reader
	}
	return r
}

// h2cURL makes a URL that is sent as target is, byte for byte.
func h2cURL(addr, target string) *url.URL {
	if !strings.HasPrefix(target, "//") {
		return &url.URL{Scheme: "http", Host: addr, Opaque: target}
	}
	// Opaque cannot begin with two slashes.
	path, query, found := strings.Cut(target, "?")
	plain, err := url.PathUnescape(path)
	if err != nil {
		plain = path
	}
	return &url.URL{Scheme: "http", Host: addr, Path: plain, RawPath: path, RawQuery: query, ForceQuery: found}
}

// h2cError says in upstream's words what went wrong before the answer.
func h2cError(ctx context.Context, addr string, err error) error {
	e := &upstream.Error{Op: upstream.OpHead, Addr: addr, BeforeFirstByte: true, Err: err}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		e.Op = upstream.OpDial
	}
	e.Timeout = context.Cause(ctx) == errFirstByte
	return e
}

// Read reads the body. Its error other than io.EOF is an *upstream.Error.
func (r *h2cResponse) Read(p []byte) (int, error) {
	n, err := r.Body.Read(p)
	r.watch.rearm()
	if err != nil && err != io.EOF {
		err = &upstream.Error{Op: upstream.OpBody, Addr: r.addr, Timeout: r.watch.cause() == errStreamIdle, Err: err}
	}
	return n, err
}

// Close resets the stream if it has not ended.
func (r *h2cResponse) Close() error {
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
