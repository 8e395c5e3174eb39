package proxy

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	crand "crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/routing"
)

// authority vouches for certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	a.cert = signed(t, template, template, &a.key.PublicKey, a.key)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), crand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signed(t *testing.T, template, parent *x509.Certificate, of *ecdsa.PublicKey, by *ecdsa.PrivateKey) *x509.Certificate {
	t.Helper()
	der, err := x509.CreateCertificate(crand.Reader, template, parent, of, by)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// roots trusts the authority alone.
func (a *authority) roots() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.cert)
	return p
}

// certificate is one for names, those that hold :// as URIs.
func (a *authority) certificate(names ...string) tls.Certificate {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, n := range names {
		if u, err := url.Parse(n); err == nil && u.Scheme != "" {
			template.URIs = append(template.URIs, u)
		} else {
			template.DNSNames = append(template.DNSNames, n)
		}
	}
	cert := signed(a.t, template, a.cert, &key.PublicKey, a.key)
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}

// secureEngine starts an engine that speaks TLS.
func secureEngine(t *testing.T, config *tls.Config, h2 bool, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.TLS, s.EnableHTTP2 = config, h2
	s.Config.ErrorLog = log.New(testLog{t}, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// tlsService is a pool of one endpoint that is to be what b says.
func tlsService(address string, b *routing.BackendTLS) *routing.Pool {
	p := service("secure", address)
	p.TLS = b
	return p
}

func TestTLSToBackends(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	cases := map[string]struct {
		want routing.BackendTLS
		cert tls.Certificate
		ok   bool
	}{
		"by server name":       {routing.BackendTLS{ServerName: "a.example", Roots: ours.roots()}, ours.certificate("a.example"), true},
		"of another name":      {routing.BackendTLS{ServerName: "a.example", Roots: ours.roots()}, ours.certificate("b.example"), false},
		"of another authority": {routing.BackendTLS{ServerName: "a.example", Roots: ours.roots()}, theirs.certificate("a.example"), false},
		"by the system's":      {routing.BackendTLS{ServerName: "a.example"}, ours.certificate("a.example"), false},
		"by subject":           {routing.BackendTLS{ServerName: "a.example", Roots: ours.roots(), Names: []string{"x.example", "b.example"}}, ours.certificate("b.example"), true},
		"by subject alone":     {routing.BackendTLS{ServerName: "a.example", Roots: ours.roots(), Names: []string{"b.example"}}, ours.certificate("a.example"), false},
		"by pattern":           {routing.BackendTLS{ServerName: "a.example", Roots: ours.roots(), Names: []string{"*.example"}}, ours.certificate("b.example"), true},
		"by URI":               {routing.BackendTLS{ServerName: "a.example", Roots: ours.roots(), URIs: []string{"spiffe://a/b"}}, ours.certificate("spiffe://a/b"), true},
		"of another URI":       {routing.BackendTLS{ServerName: "a.example", Roots: ours.roots(), URIs: []string{"spiffe://a/b"}}, ours.certificate("spiffe://a/b/c"), false},
		"by subject, stranger": {routing.BackendTLS{ServerName: "a.example", Roots: ours.roots(), Names: []string{"b.example"}}, theirs.certificate("b.example"), false},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var sni string
			config := &tls.Config{Certificates: []tls.Certificate{c.cert}}
			addr := secureEngine(t, config, false, func(w http.ResponseWriter, r *http.Request) {
				sni = r.TLS.ServerName
				echoing("a")(w, r)
			})
			w := newWorld(t, serving(to(tlsService(addr, &c.want))))
			a := w.send(w.request("PUT", "/x%2Fy?z", strings.NewReader("body")), "Host", "front.example")
			if !c.ok {
				isOpenAIError(t, a, 502, "No connection")
				hasReason(t, w.last(1), llm.ReasonUpstreamConnect)
				return
			}
			e := echoed(t, a)
			if e.Target != "/x%2Fy?z" || e.Host != "front.example" || e.Body != "body" || sni != "a.example" {
				t.Errorf("engine got %+v, SNI %q", e, sni)
			}
		})
	}
}

func TestTLSToBackendsOverHTTP2(t *testing.T) {
	a := newAuthority(t)
	var proto string
	addr := secureEngine(t, &tls.Config{Certificates: []tls.Certificate{a.certificate("a.example")}}, true,
		func(w http.ResponseWriter, r *http.Request) {
			proto = r.Proto
			echoing("a")(w, r)
		})
	for _, protocol := range []routing.Protocol{routing.HTTP1, routing.H2C} {
		p := tlsService(addr, &routing.BackendTLS{ID: "x", ServerName: "a.example", Roots: a.roots()})
		p.Protocol = protocol
		w := newWorld(t, serving(to(p)))
		if e := echoed(t, w.get("/x")); e.Target != "/x" || proto != "HTTP/2.0" {
			t.Errorf("engine got %+v over %s", e, proto)
		}
	}
}

// gatewayAs is serving, for a Gateway with an identity.
func gatewayAs(id *routing.Identity, rule *routing.Rule) *routing.Snapshot {
	return snapshotOf(&routing.Listener{Gateway: "default/gw", Name: "http", Identity: id}, route{prefix("/"), rule})
}

func TestTLSToBackendsThatCheck(t *testing.T) {
	a := newAuthority(t)
	var client string
	config := &tls.Config{Certificates: []tls.Certificate{a.certificate("a.example")}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: a.roots()}
	addr := secureEngine(t, config, false, func(w http.ResponseWriter, r *http.Request) {
		client = r.TLS.PeerCertificates[0].DNSNames[0]
		echoing("a")(w, r)
	})
	trust := &routing.BackendTLS{ID: "x", ServerName: "a.example", Roots: a.roots()}
	rule := func() *routing.Rule { return to(tlsService(addr, trust)) }
	w := newWorld(t, gatewayAs(&routing.Identity{ID: "one", Certificate: a.certificate("one")}, rule()))
	echoed(t, w.get("/"))
	if client != "one" {
		t.Errorf("the engine took the gateway for %q", client)
	}
	// Another identity must not go out on the connections of the first.
	w.publish(gatewayAs(&routing.Identity{ID: "two", Certificate: a.certificate("two")}, rule()))
	echoed(t, w.get("/"))
	if client != "two" {
		t.Errorf("the engine took the gateway for %q", client)
	}
	if n := len(w.proxy.transports.by); n != 1 {
		t.Errorf("%d transports are kept, want 1", n)
	}
	w.publish(gatewayAs(nil, rule()))
	if got := w.get("/"); got.status != 502 {
		t.Errorf("without a certificate the answer is %d", got.status)
	}
	w.publish(gatewayAs(&routing.Identity{Failure: "Secret default/x does not exist"}, rule()))
	isOpenAIError(t, w.get("/"), 500, "no client certificate")
}

func TestWebSocketOverTLS(t *testing.T) {
	a := newAuthority(t)
	addr := secureEngine(t, &tls.Config{Certificates: []tls.Certificate{a.certificate("a.example")}}, true, shouting)
	w := newWorld(t, serving(to(tlsService(addr, &routing.BackendTLS{ServerName: "a.example", Roots: a.roots()}))))
	c := w.dial()
	io.WriteString(c, "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nearly\n")
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "websocket" {
		t.Fatalf("%v %v", resp, err)
	}
	for _, word := range []string{"EARLY\n", "LATE\n"} {
		if line, err := r.ReadString('\n'); line != word || err != nil {
			t.Fatalf("got %q, %v; want %q", line, err, word)
		}
		io.WriteString(c, "late\n")
	}
	c.Close()
	hasReason(t, w.last(1), llm.ReasonOK)
}

// shouting switches protocols and answers each line in capitals.
func shouting(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") != "websocket" {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.WriteHeader(http.StatusSwitchingProtocols)
	c, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	for {
		line, err := buffered.ReadString('\n')
		if err != nil {
			return
		}
		io.WriteString(c, strings.ToUpper(line))
	}
}

func TestMirrorOverTLS(t *testing.T) {
	a, shadow := newAuthority(t), &witness{}
	addr := secureEngine(t, &tls.Config{Certificates: []tls.Certificate{a.certificate("a.example")}}, true, shadow.ServeHTTP)
	rule := to(service("a", engine(t, echoing("a"))))
	rule.Filters.Mirrors = []*routing.Mirror{{Pool: tlsService(addr, &routing.BackendTLS{ServerName: "a.example", Roots: a.roots()})}}
	w, counts := newMirrorWorld(t, rule)
	w.send(w.request("POST", "/", strings.NewReader("body")))
	counts.wait(t, MirrorAnswered, 1)
	if got := shadow.all[0].body; got != "body" {
		t.Errorf("mirror got %q", got)
	}
}

// TestClientCertificates asks listeners that check their clients.
func TestClientCertificates(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	s := secure(t, "checked.example", "optional.example", "open.example", "")
	for _, l := range s.Ports[0].Listeners {
		switch l.Name {
		case "checked.example":
			l.Clients = &routing.ClientCheck{Roots: ours.roots()}
		case "optional.example":
			l.Clients = &routing.ClientCheck{Roots: ours.roots(), Optional: true}
		}
	}
	w := newWorld(t, s)
	none, good, bad := []tls.Certificate(nil), []tls.Certificate{ours.certificate("c")}, []tls.Certificate{theirs.certificate("c")}
	cases := []struct {
		sni, host string
		shown     []tls.Certificate
		status    int // 0: no connection
	}{
		{"checked.example", "checked.example", good, 302},
		{"checked.example", "checked.example", bad, 0},
		{"checked.example", "checked.example", none, 0},
		{"optional.example", "optional.example", good, 302},
		{"optional.example", "optional.example", bad, 302},
		{"optional.example", "optional.example", none, 302},
		{"open.example", "open.example", none, 302},
		{"open.example", "checked.example", none, 421},
		{"optional.example", "checked.example", none, 421},
		{"unknown.example", "checked.example", none, 421},
		{"", "checked.example", none, 421}, // no SNI is no way around the check
		{"", "open.example", none, 302},
	}
	for _, c := range cases {
		for _, protocol := range []string{"http/1.1", "h2"} {
			client := secureClient(w, c.sni, protocol)
			client.Transport.(*http.Transport).TLSClientConfig.Certificates = c.shown
			r, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://127.0.0.1/", nil)
			r.Host = c.host
			resp, err := client.Do(r)
			if err != nil {
				if c.status != 0 {
					t.Errorf("%s SNI %q: %v", protocol, c.sni, err)
				}
				continue
			}
			resp.Body.Close()
			if resp.StatusCode != c.status {
				t.Errorf("%s SNI %q Host %q with %d certificates: status %d, want %d", protocol, c.sni, c.host, len(c.shown), resp.StatusCode, c.status)
			}
		}
	}
}
