package routing

import (
	"crypto/tls"
	"crypto/x509"
)

// BackendTLS is how the endpoints of a pool are spoken to over TLS
// (BackendTLSPolicy, Gateway API).
type BackendTLS struct {
	// ID names the content: equal IDs may share connections.
	ID string
	// ServerName is asked for by SNI. The endpoint's certificate must be for it,
	// unless Names or URIs say what it must be for instead: one of them.
	ServerName  string
	Names, URIs []string // a name may be *.suffix
	// Roots that are trusted; nil means the machine's.
	Roots *x509.CertPool
}

// Identity is what a Gateway shows to endpoints that ask for a client certificate.
type Identity struct {
	ID          string // names the content, like BackendTLS.ID
	Certificate tls.Certificate
	// Failure, when not empty, says why there is none: calls over TLS then fail
	// instead of going out as someone else.
	Failure string
}

// ClientCheck is what a listener asks of its clients' certificates.
type ClientCheck struct {
	Roots *x509.CertPool
	// Optional admits clients without a certificate, or with any other
	// (AllowInsecureFallback, Gateway API).
	Optional bool
}
