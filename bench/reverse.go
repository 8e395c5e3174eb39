//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"
)

// runReverse serves addr with the standard library's reverse proxy, its transport
// set up to keep connections. It forwards only, as nginx and haproxy do here.
func runReverse(addr, list string) error {
	var engines engineAddresses
	if err := json.Unmarshal([]byte(list), &engines); err != nil {
		return fmt.Errorf("list of engines: %w", err)
	}
	pick := newWheel(engines)
	transport := &http.Transport{
		MaxIdleConns:        0, // no bound
		MaxIdleConnsPerHost: 256,
		IdleConnTimeout:     10 * time.Minute,
		DisableCompression:  true,
	}
	proxy := &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(pick())
			holdBody(r)
		},
	}
	server := &http.Server{Addr: addr, Handler: proxy, ReadHeaderTimeout: 10 * time.Second}
	return fmt.Errorf("serve %s: %w", addr, server.ListenAndServe())
}

// holdBody reads the body before it is sent. Streaming it would let an engine as quick
// as ours answer while the transport still looks for the body's end; the server closes
// the body at that moment and the transport then drops the connection, answer and all.
func holdBody(r *httputil.ProxyRequest) {
	body, err := io.ReadAll(io.LimitReader(r.In.Body, 1<<20))
	if err != nil {
		r.Out.Body = nil // the client is gone, and with it the request
		return
	}
	r.Out.Body, r.Out.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
}

// newWheel returns a function that goes round the engines, each group getting its
// weight.
func newWheel(engines engineAddresses) func() *url.URL {
	var wheel []*url.URL
	for i := range 100 {
		g := groups()[0]
		if i%10 == 9 {
			g = groups()[1]
		}
		list := engines[g.name]
		wheel = append(wheel, &url.URL{Scheme: "http", Host: list[i/10%len(list)]})
	}
	var turn atomic.Uint64
	return func() *url.URL { return wheel[turn.Add(1)%uint64(len(wheel))] }
}
