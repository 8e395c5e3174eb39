package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// mistakes makes one after the other. Each is named where it was made, by a
// condition and an event, and everything else goes on being served.
func mistakes(t *testing.T) {
	p, base := newChat(t)
	l := startLoad(t, base, 4, ask("chat"))
	p.follows(l, 90, 10)

	t.Run("route", func(t *testing.T) { p.in(t).mistakenRoute(base) })
	t.Run("pool", func(t *testing.T) { p.in(t).mistakenPool(base) })
	t.Run("model", func(t *testing.T) { p.in(t).mistakenModel(base) })
	t.Run("secret", func(t *testing.T) { p.in(t).mistakenSecret(base) })

	p.follows(l, 90, 10)
	l.stop()
}

func (p place) in(t testing.TB) place { p.t = t; return p }

// mistakenRoute has a filter that nobody knows and a backend that is not there.
func (p place) mistakenRoute(base string) {
	p.apply(`
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: mistaken}
spec:
  hostnames: [mistaken.example]
  parentRefs: [{name: gw}]
  rules:
  - matches: [{path: {value: /filtered}}]
    filters: [{type: ExtensionRef, extensionRef: {group: example.com, kind: Tarpit, name: t}}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: one}]
  - matches: [{path: {value: /lost}}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: lost}]
  - matches: [{path: {value: /v1}}]
    backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: one}]
`)
	message := p.says("httproute/mistaken", "Accepted=True", "ResolvedRefs=False/BackendNotFound", "PartiallyInvalid=True")
	p.contains(message, "lost does not exist", "Tarpit is not supported")
	p.describes("httproute/mistaken", "Tarpit is not supported", "lost does not exist")
	p.status(base, "mistaken.example", "/filtered", 500)
	p.status(base, "mistaken.example", "/lost", 500)
	q := ask("chat")
	q.host = "mistaken.example"
	p.answers(base, q) // the rule without a mistake
}

// mistakenPool names an endpoint picker that is not there.
func (p place) mistakenPool(base string) {
	p.apply(`
apiVersion: inference.networking.k8s.io/v1
kind: InferencePool
metadata: {name: pickerless}
spec:
  selector: {matchLabels: {app: one}}
  targetPorts: [{number: 8000}]
  endpointPickerRef: {name: no-such-picker, port: {number: 9002}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: pickerless}
spec:
  hostnames: [pickerless.example]
  parentRefs: [{name: gw}]
  rules:
  - backendRefs: [{group: inference.networking.k8s.io, kind: InferencePool, name: pickerless}]
`)
	message := p.says("inferencepools.inference.networking.k8s.io/pickerless", "Accepted=True", "ResolvedRefs=False/InvalidExtensionRef")
	p.contains(message, "no-such-picker does not exist")
	p.describes("inferencepools.inference.networking.k8s.io/pickerless", "no-such-picker does not exist")
	p.status(base, "pickerless.example", "/v1/models", 500)
}

// mistakenModel wants a name that an older model of the pool has; another one's
// pool is not there.
func (p place) mistakenModel(base string) {
	const model = `
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: NAME}
spec:
  modelName: declared
  poolRef: {name: POOL}
  targetModels: [{name: chat}]
`
	declare := func(name, pool string) {
		p.apply(strings.NewReplacer("NAME", name, "POOL", pool).Replace(model))
	}
	p.apply(`
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferencePool
metadata: {name: legacy}
spec:
  selector: {app: one}
  targetPortNumber: 8000
  extensionRef: {name: not-installed}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: legacy}
spec:
  hostnames: [legacy.example]
  parentRefs: [{name: gw}]
  rules:
  - backendRefs: [{group: inference.networking.x-k8s.io, kind: InferencePool, name: legacy}]
`)
	declare("older", "legacy")
	p.says("inferencemodel/older", "Accepted=True")
	declare("younger", "legacy")
	declare("homeless", "lost")
	p.contains(p.says("inferencemodel/younger", "Accepted=False/ModelNameInUse"), "older")
	p.contains(p.says("inferencemodel/homeless", "Accepted=Unknown/Pending"), "lost does not exist")
	p.describes("inferencemodel/younger", "older")
	q := ask("declared")
	q.host = "legacy.example"
	p.answers(base, q)

	p.kubectl("delete", "inferencemodel/older")
	p.says("inferencemodel/younger", "Accepted=True")
	p.answers(base, q)
}

// mistakenSecret holds no certificate: its listener does not listen, the other
// does. Once mended it serves without anything being restarted.
func (p place) mistakenSecret(base string) {
	p.kubectl("create", "secret", "generic", "cert", "--from-literal=tls.crt=garbage", "--from-literal=tls.key=rubbish")
	p.kubectl("patch", "gateway/gw", "--type=json", "-p", `[{"op": "add", "path": "/spec/listeners/-", "value":
		{"name": "https", "port": 8443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "cert"}]}}}]`)
	p.becomes("gateway/gw", `{.status.listeners[?(@.name=="https")].conditions[?(@.type=="ResolvedRefs")].reason}`, "InvalidCertificateRef")
	p.becomes("gateway/gw", `{.status.listeners[?(@.name=="https")].conditions[?(@.type=="Programmed")].status}`, "False")
	p.becomes("gateway/gw", `{.status.listeners[?(@.name=="http")].conditions[?(@.type=="Programmed")].status}`, "True")
	p.says("gateway/gw", "Accepted=True", "Programmed=True")
	p.describes("gateway/gw", "holds no usable certificate")
	for _, words := range []string{"garbage", "rubbish"} {
		if text := p.kubectl("describe", "gateway/gw"); strings.Contains(text, words) {
			p.t.Errorf("the Secret's content is shown: %s", text)
		}
	}

	roots := p.certify("cert", "chat.example")
	p.becomes("gateway/gw", `{.status.listeners[?(@.name=="https")].conditions[?(@.type=="Programmed")].status}`, "True")
	at, err := url.Parse(base)
	if err != nil {
		p.t.Fatal(err)
	}
	client := newClient(false)
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: "chat.example"}
	eventually(p.t, "an answer over TLS", func() error {
		a, err := chat(p.t.Context(), client, "https://"+at.Hostname()+":8443", ask("chat"))
		if wrong := a.wrong(ask("chat")); err == nil && wrong != "" {
			err = fmt.Errorf("%s", wrong)
		}
		return err
	})
}

// certify puts a new certificate of its own authority into a Secret.
func (p place) certify(secret, host string) *x509.CertPool {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		p.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		p.t.Fatal(err)
	}
	dir := p.t.TempDir()
	crt, k := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for name, block := range map[string]*pem.Block{crt: {Type: "CERTIFICATE", Bytes: der}, k: {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			p.t.Fatal(err)
		}
	}
	manifest := p.kubectl("create", "secret", "generic", secret, "--from-file="+crt, "--from-file="+k, "--dry-run=client", "-o", "yaml")
	p.apply(manifest)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return roots
}

func (p place) contains(text string, words ...string) {
	p.t.Helper()
	for _, w := range words {
		if !strings.Contains(text, w) {
			p.t.Errorf("no %q in %q", w, text)
		}
	}
}

// describes waits until `kubectl describe` of an object shows events with these
// words.
func (p place) describes(object string, words ...string) {
	p.t.Helper()
	eventually(p.t, "an event on "+object, func() error {
		_, events, _ := strings.Cut(p.kubectl("describe", object), "\nEvents:")
		for _, w := range words {
			if !strings.Contains(events, w) {
				return fmt.Errorf("no %q in %s", w, events)
			}
		}
		return nil
	})
}

// status waits until a GET is answered by this status.
func (p place) status(base, host, path string, want int) {
	p.t.Helper()
	client := newClient(false)
	eventually(p.t, fmt.Sprintf("status %d of %s%s", want, host, path), func() error {
		req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, base+path, nil)
		if err != nil {
			return err
		}
		req.Host = host
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != want {
			return fmt.Errorf("status %d", resp.StatusCode)
		}
		return nil
	})
}
