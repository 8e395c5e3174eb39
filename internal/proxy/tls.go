package proxy

import (
	"crypto/tls"
	"fmt"
	"net/http"
)

// clientTLS says whether the request came over TLS and which host the connection
// was opened for, "" when the client did not say.
func clientTLS(r *http.Request) (secure bool, name string) {
	if r.TLS != nil {
		return true, r.TLS.ServerName
	}
	if c := connOf(r); c != nil && c.tls != nil {
		return true, c.serverName()
	}
	return false, ""
}

// tlsConfig is for connections to the given port. It holds nothing of a Snapshot:
// certificates are looked up for each connection.
func (p *Proxy) tlsConfig(port uint16) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return p.certificate(port, hello)
		},
		GetConfigForClient: func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			return p.checkingConfig(port, hello), nil
		},
	}
}

// checkingConfig is for connections to a listener that asks for client
// certificates; nil for all others, which is tlsConfig's. A session is not resumed
// there: each one begins with a check.
func (p *Proxy) checkingConfig(port uint16, hello *tls.ClientHelloInfo) *tls.Config {
	snapshot := p.snapshot.Load()
	if snapshot == nil {
		return nil
	}
	listener := snapshot.Listener(port, hello.ServerName)
	if listener == nil || listener.Clients == nil {
		return nil
	}
	config := p.tlsConfig(port)
	config.GetConfigForClient = nil
	config.SessionTicketsDisabled = true
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, listener.Clients.Roots
	if listener.Clients.Optional {
		config.ClientAuth = tls.RequestClientCert
	}
	return config
}

// certificate chooses, among those of the listener that the client asks for, the
// first that the client can use. A host that no listener serves gets none, and so
// no connection.
func (p *Proxy) certificate(port uint16, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	snapshot := p.snapshot.Load()
	if snapshot == nil {
		return nil, fmt.Errorf("tls on port %d: no configuration yet", port)
	}
	listener := snapshot.Listener(port, hello.ServerName)
	if listener == nil || len(listener.Certificates) == 0 {
		return nil, fmt.Errorf("tls on port %d: no certificate for %q", port, hello.ServerName)
	}
	for i := range listener.Certificates {
		if hello.SupportsCertificate(&listener.Certificates[i]) == nil {
			return &listener.Certificates[i], nil
		}
	}
	return &listener.Certificates[0], nil
}
