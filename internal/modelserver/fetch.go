package modelserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"crossfade.dev/internal/upstream"
)

// Answers larger than these are refused. vLLM's metrics have about 100 KB; a
// model takes about 500 bytes.
const (
	maxMetricsBytes = 4 << 20
	maxModelsBytes  = 1 << 20
	// keptBytes is the largest buffer that is kept for the next poll.
	keptBytes = 512 << 10
)

// newH2C returns a transport that speaks HTTP/2 without TLS and nothing else.
func newH2C() *http.Transport {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{Protocols: &protocols, DisableCompression: true}
}

// fetch reads path of an endpoint into *buf. Redirects are answers like any
// other: a model server has no business sending the gateway elsewhere.
func (p *Poller) fetch(e *endpoint, path string, limit int, buf *[]byte) (status int, err error) {
	ctx, cancel := context.WithTimeout(e.ctx, p.options.Timeout)
	defer cancel()
	status, body, err := p.send(ctx, e.target, path)
	if err != nil {
		return 0, err
	}
	if cap(*buf) > keptBytes {
		*buf = nil
	}
	*buf, err = readAll((*buf)[:0], body, limit)
	// Read to its end, the connection is kept; else this closes it.
	return status, errors.Join(err, body.Close())
}

func (p *Poller) send(ctx context.Context, t Target, path string) (int, io.ReadCloser, error) {
	header := http.Header{"Accept": {"*/*"}, "User-Agent": {"crossfade"}}
	if !t.H2C {
		resp, err := p.client.Do(ctx, t.Address, &upstream.Request{Method: http.MethodGet, Target: path, Header: header})
		if err != nil {
			return 0, nil, err
		}
		return resp.Status, resp, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.Address+path, nil)
	if err != nil {
		return 0, nil, err
	}
	req.Header = header
	resp, err := p.h2c.RoundTrip(req)
	if err != nil {
		return 0, nil, err
	}
	return resp.StatusCode, resp.Body, nil
}

var errTooLarge = errors.New("answer is too large")

// readAll appends what r holds to b, at most limit bytes.
func readAll(b []byte, r io.Reader, limit int) ([]byte, error) {
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		switch {
		case len(b) > limit:
			return b, fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
		case err == io.EOF:
			return b, nil
		case err != nil:
			return b, err
		}
	}
}
