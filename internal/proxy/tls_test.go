package proxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/routing"
)

// certificate makes a self-signed one for the names.
func certificate(t *testing.T, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(crand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// secure is a snapshot whose port 80 speaks TLS, with one listener per host that
// answers by redirecting to the listener's name.
func secure(t *testing.T, hosts ...string) *routing.Snapshot {
	s := &routing.Snapshot{Ports: []*routing.Port{{Number: 80, TLS: true}}, Pools: map[string]*routing.Pool{}}
	for _, host := range hosts {
		l := &routing.Listener{Name: host, Hostname: host, Certificates: []tls.Certificate{certificate(t, host)}}
		rule := to()
		rule.Filters.Redirect = &routing.Redirect{Hostname: strings.TrimPrefix(host, "*.") + ".served"}
		rule.Seal()
		l.AddRoute(host, &routing.Route{Match: prefix("/"), Rule: rule})
		s.Ports[0].Listeners = append(s.Ports[0].Listeners, l)
	}
	s.Arm(nil, rand.New(rand.NewPCG(1, 2)))
	return s
}

// secureClient asks for a host on a connection opened for sni.
func secureClient(w *world, sni, protocol string) *http.Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, w.listeners.Addr(80).String())
		},
		TLSClientConfig: &tls.Config{ServerName: sni, InsecureSkipVerify: true},
		Protocols:       &http.Protocols{},
	}
	if protocol == "h2" {
		transport.Protocols.SetHTTP2(true)
	} else {
		transport.Protocols.SetHTTP1(true)
	}
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience, CheckRedirect: w.client.CheckRedirect}
}

func TestTLSBySNI(t *testing.T) {
	w := newWorld(t, secure(t, "a.example", "b.example", "*.example"))
	cases := []struct {
		sni, host string
		status    int
		location  string
	}{
		{"a.example", "a.example", 302, "https://a.example.served:"},
		{"B.example", "b.example:443", 302, "https://b.example.served:"},
		{"any.example", "other.example", 302, "https://example.served:"},
		{"a.example", "b.example", 421, ""},
		{"any.example", "a.example", 421, ""},
		{"a.example", "unknown.test", 421, ""},
	}
	for _, protocol := range []string{"http/1.1", "h2"} {
		for _, c := range cases {
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://ignored/", nil)
			r.Host = c.host
			resp, err := secureClient(w, c.sni, protocol).Do(r)
			if err != nil {
				t.Errorf("%s %s: %v", protocol, c.sni, err)
				continue
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != c.status || !strings.HasPrefix(resp.Header.Get("Location"), c.location) || (resp.ProtoMajor == 2) != (protocol == "h2") {
				t.Errorf("%s, SNI %s, Host %s: %s %d %s", protocol, c.sni, c.host, resp.Proto, resp.StatusCode, resp.Header.Get("Location"))
			}
			if got := resp.TLS.PeerCertificates[0].DNSNames[0]; !routing.HostMatches(got, strings.ToLower(c.sni)) {
				t.Errorf("SNI %s got the certificate of %s", c.sni, got)
			}
		}
	}
}

func TestTLSRefusesUnknownHosts(t *testing.T) {
	w := newWorld(t, secure(t, "a.example"))
	for _, name := range []string{"b.example", ""} {
		c := tls.Client(w.dial(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if err := c.Handshake(); err == nil {
			t.Errorf("handshake for %q succeeded", name)
		}
	}
	old := tls.Client(w.dial(), &tls.Config{ServerName: "a.example", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11})
	if err := old.Handshake(); err == nil {
		t.Error("TLS 1.1 was accepted")
	}
}

func TestPlainRequestToTLSPort(t *testing.T) {
	w := newWorld(t, secure(t, "a.example"))
	c := w.dial()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	isOpenAIError(t, answerSeen{status: resp.StatusCode, header: resp.Header, body: string(body)}, 400, "https://")
}

func TestSmugglingOverTLS(t *testing.T) {
	w := newWorld(t, secure(t, "a.example"))
	c := tls.Client(w.dial(), &tls.Config{ServerName: "a.example", InsecureSkipVerify: true})
	io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 400 {
		t.Fatalf("answer is %+v, %v", resp, err)
	}
	io.Copy(io.Discard, resp.Body)
	if rest, _ := io.ReadAll(r); len(rest) > 0 {
		t.Errorf("then came %q", rest)
	}
}

func TestCertificateChangesWithTheSnapshot(t *testing.T) {
	w := newWorld(t, secure(t, "a.example"))
	seen := func() string {
		c := tls.Client(w.dial(), &tls.Config{ServerName: "a.example", InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		return string(c.ConnectionState().PeerCertificates[0].Raw)
	}
	first := seen()
	if again := seen(); again != first {
		t.Error("the certificate changed by itself")
	}
	w.publish(secure(t, "a.example"))
	if after := seen(); after == first {
		t.Error("the certificate is still the old one")
	}
}

func TestCertificateThatTheClientSupports(t *testing.T) {
	s := secure(t, "a.example")
	l := s.Ports[0].Listeners[0]
	l.Certificates = []tls.Certificate{certificate(t, "wrong.example"), l.Certificates[0]}
	w := newWorld(t, s)
	c := tls.Client(w.dial(), &tls.Config{ServerName: "a.example", InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if got := c.ConnectionState().PeerCertificates[0].DNSNames[0]; got != "a.example" {
		t.Errorf("certificate is for %s", got)
	}
}
