// Package epptest runs endpoint pickers in tests, each following a script: the
// ways in which real ones talk, and ways in which none should.
package epptest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// A Script is what a picker does on one stream.
type Script func(s *Stream) error

// A Picker is a running endpoint picker.
type Picker struct {
	Address string
	extprocv3.UnimplementedExternalProcessorServer
	server *grpc.Server
	t      testing.TB

	mu      sync.Mutex
	script  Script
	streams int
	ended   []error // of the context of each stream that ended
}

// Start runs a picker over TLS with a certificate of its own making.
func Start(t testing.TB, script Script) *Picker {
	t.Helper()
	return start(t, "127.0.0.1:0", script, credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}))
}

// StartPlaintext runs a picker that speaks HTTP/2 in clear text.
func StartPlaintext(t testing.TB, script Script) *Picker {
	t.Helper()
	return start(t, "127.0.0.1:0", script, insecure.NewCredentials())
}

func start(t testing.TB, address string, script Script, c credentials.TransportCredentials) *Picker {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &Picker{Address: l.Addr().String(), script: script, t: t, server: grpc.NewServer(grpc.Creds(c), grpc.WaitForHandlers(true))}
	extprocv3.RegisterExternalProcessorServer(p.server, p)
	var served sync.WaitGroup
	served.Go(func() { _ = p.server.Serve(l) })
	t.Cleanup(func() {
		p.server.Stop()
		served.Wait()
	})
	return p
}

// Stop ends the picker and every stream, as a crash would.
func (p *Picker) Stop() { p.server.Stop() }

// Follow makes later streams follow another script.
func (p *Picker) Follow(script Script) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.script = script
}

// Streams is how many streams have begun.
func (p *Picker) Streams() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.streams
}

// Ended returns, for each stream that has ended, the error its context had by
// then: nil when the client took leave in order.
func (p *Picker) Ended() []error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]error(nil), p.ended...)
}

// Process follows the script.
func (p *Picker) Process(server extprocv3.ExternalProcessor_ProcessServer) error {
	p.mu.Lock()
	p.streams++
	script := p.script
	p.mu.Unlock()
	err := script(&Stream{server})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = append(p.ended, server.Context().Err())
	return err
}

// A Stream is one stream as a script sees it.
type Stream struct {
	extprocv3.ExternalProcessor_ProcessServer
}

// selfSigned makes a certificate that nobody has reason to trust.
func selfSigned(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<33, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// Field returns the first value of a header field or pseudo-header, in lower case,
// as clients have to send it: raw.
func Field(m *corev3.HeaderMap, name string) string {
	for _, h := range m.GetHeaders() {
		if h.GetKey() == name {
			return string(h.GetRawValue())
		}
	}
	return ""
}

// Restart runs another picker at the address of one that was stopped.
func Restart(t testing.TB, stopped *Picker, script Script) *Picker {
	t.Helper()
	return start(t, stopped.Address, script, credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{selfSigned(t)}}))
}
