package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"crossfade.dev/internal/routing"
)

// transports are net/http's clients for pools that speak TLS, one for each way to
// do so: connections are shared by those alone that trust and show the same.
type transports struct {
	mu sync.Mutex
	by map[transportKey]*http.Transport
}

type transportKey struct {
	tls, identity string
	protocol      routing.Protocol
}

// transport returns the client for a pool that is not routing.Pool.Plain.
func (p *Proxy) transport(pool *routing.Pool, id *routing.Identity) http.RoundTripper {
	if pool.TLS == nil {
		return p.h2c
	}
	key := transportKey{tls: pool.TLS.ID, protocol: pool.Protocol}
	if id != nil {
		key.identity = id.ID
	}
	t := &p.transports
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.by[key] == nil {
		if t.by == nil {
			t.by = map[transportKey]*http.Transport{}
		}
		t.by[key] = newTLSTransport(pool, id)
	}
	return t.by[key]
}

func newTLSTransport(pool *routing.Pool, id *routing.Identity) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(pool.Protocol != routing.H2C)
	protocols.SetHTTP2(true)
	return &http.Transport{
		Protocols:              &protocols,
		TLSClientConfig:        backendConfig(pool.TLS, id),
		TLSHandshakeTimeout:    10 * time.Second,
		DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		DisableCompression:     true, // the answer passes as the endpoint sent it
		MaxIdleConnsPerHost:    256,
		IdleConnTimeout:        30 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second},
	}
}

// retain forgets the clients that s has no use for. Their requests go on.
func (t *transports) retain(s *routing.Snapshot) {
	used := map[string]bool{"": true}
	for _, p := range s.Pools {
		if p.TLS != nil {
			used[p.TLS.ID] = true
		}
	}
	for _, port := range s.Ports {
		for _, l := range port.Listeners {
			if l.Identity != nil {
				used[l.Identity.ID] = true
			}
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, client := range t.by {
		if !used[key.tls] || !used[key.identity] {
			client.CloseIdleConnections()
			delete(t.by, key)
		}
	}
}

func (t *transports) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, client := range t.by {
		client.CloseIdleConnections()
	}
}

// backendConfig is for connections to endpoints.
func backendConfig(t *routing.BackendTLS, id *routing.Identity) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName, RootCAs: t.Roots}
	if id != nil && len(id.Certificate.Certificate) > 0 {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.Certificate, nil }
	}
	if len(t.Names)+len(t.URIs) > 0 {
		// The name that is asked for is not the one the certificate must be for, so
		// the check is ours instead of the library's.
		c.InsecureSkipVerify = true
		c.VerifyConnection = func(s tls.ConnectionState) error { return verifySubject(t, s.PeerCertificates) }
	}
	return c
}

// verifySubject checks that a trusted authority vouches for one of t's subjects.
func verifySubject(t *routing.BackendTLS, chain []*x509.Certificate) error {
	if len(chain) == 0 {
		return errors.New("endpoint shows no certificate")
	}
	options := x509.VerifyOptions{Roots: t.Roots, Intermediates: x509.NewCertPool()}
	for _, c := range chain[1:] {
		options.Intermediates.AddCert(c)
	}
	leaf := chain[0]
	if _, err := leaf.Verify(options); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: err}
	}
	for _, name := range t.Names {
		if isFor(leaf, name) {
			return nil
		}
	}
	for _, uri := range leaf.URIs {
		for _, want := range t.URIs {
			if uri.String() == want {
				return nil
			}
		}
	}
	return &tls.CertificateVerificationError{UnverifiedCertificates: chain, Err: errors.New("certificate is for none of the wanted subjects")}
}

// isFor reports whether a certificate is for name, or for one that name covers when
// it is a pattern.
func isFor(leaf *x509.Certificate, name string) bool {
	if !strings.HasPrefix(name, "*.") {
		return leaf.VerifyHostname(name) == nil
	}
	for _, have := range leaf.DNSNames {
		if routing.HostMatches(name, strings.ToLower(have)) {
			return true
		}
	}
	return false
}

// noConnection reports errors of net/http's client that came before any request
// could be sent: nobody listened, or the two sides do not trust each other.
func noConnection(err error) bool {
	var operation *net.OpError
	var untrusted *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(err, &operation) && (operation.Op == "dial" || operation.Op == "remote error") ||
		errors.As(err, &untrusted) || errors.As(err, &record)
}

// identityFailure says why the pool must not be asked as the Gateway is, "" when it
// may.
func identityFailure(pool *routing.Pool, id *routing.Identity) string {
	if pool.TLS == nil || id == nil {
		return ""
	}
	return id.Failure
}

// Transport returns the client for a pool that is not routing.Pool.Plain, for whoever
// else has something to ask its endpoints. Connections are shared with requests.
func (p *Proxy) Transport(pool *routing.Pool, id *routing.Identity) http.RoundTripper {
	return p.transport(pool, id)
}
