// Package pki makes the certificates, keys and kubeconfig files of one
// throw-away cluster. They live for a day.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	api "k8s.io/client-go/tools/clientcmd/api"
)

const lifetime = 24 * time.Hour

// Authority signs certificates and writes them as NAME.crt and NAME.key into
// its folder, its own as ca.crt and ca.key.
type Authority struct {
	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

// Identity is what a certificate says about its owner.
type Identity struct {
	CommonName    string   // the user's name in Kubernetes
	Organizations []string // the user's groups in Kubernetes
	IPs           []string
	Names         []string
}

// New makes an authority with a key of its own.
func New(folder string) (*Authority, error) {
	a := &Authority{folder: folder}
	template := newTemplate(Identity{CommonName: "cluster-ca"})
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign
	return a, a.issue("ca", template)
}

// Issue signs a certificate for id, good for servers and clients alike.
func (a *Authority) Issue(name string, id Identity) error { return a.issue(name, newTemplate(id)) }

func newTemplate(id Identity) *x509.Certificate {
	t := &x509.Certificate{
		Subject:     pkix.Name{CommonName: id.CommonName, Organization: id.Organizations},
		NotBefore:   time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(lifetime),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		DNSNames:    id.Names,
	}
	for _, ip := range id.IPs {
		t.IPAddresses = append(t.IPAddresses, net.ParseIP(ip))
	}
	return t
}

// issue signs template, with its own key if there is no authority yet.
func (a *Authority) issue(name string, template *x509.Certificate) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", name, err)
	}
	if a.cert == nil {
		if a.cert, err = x509.ParseCertificate(der); err != nil {
			return fmt.Errorf("certificate %s: %w", name, err)
		}
		a.key = key
	}
	if err := a.write(name+".crt", "CERTIFICATE", der); err != nil {
		return err
	}
	return a.writeKey(name, key)
}

// KeyPair writes a pair without a certificate, NAME.key and NAME.pub.
func (a *Authority) KeyPair(name string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("key %s: %w", name, err)
	}
	der, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return fmt.Errorf("key %s: %w", name, err)
	}
	if err := a.write(name+".pub", "PUBLIC KEY", der); err != nil {
		return err
	}
	return a.writeKey(name, key)
}

func (a *Authority) writeKey(name string, key *ecdsa.PrivateKey) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("key %s: %w", name, err)
	}
	return a.write(name+".key", "PRIVATE KEY", der)
}

func (a *Authority) write(file, kind string, der []byte) error {
	return os.WriteFile(filepath.Join(a.folder, file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// Kubeconfig writes USER.kubeconfig with the certificate issued under that
// name inside, so that the file can be copied about.
func (a *Authority) Kubeconfig(user, server string) error {
	var data [3][]byte
	for i, file := range []string{"ca.crt", user + ".crt", user + ".key"} {
		var err error
		if data[i], err = os.ReadFile(filepath.Join(a.folder, file)); err != nil {
			return fmt.Errorf("kubeconfig of %s: %w", user, err)
		}
	}
	cfg := api.NewConfig()
	cfg.Clusters["cluster"] = &api.Cluster{Server: server, CertificateAuthorityData: data[0]}
	cfg.AuthInfos[user] = &api.AuthInfo{ClientCertificateData: data[1], ClientKeyData: data[2]}
	cfg.Contexts["cluster"] = &api.Context{Cluster: "cluster", AuthInfo: user}
	cfg.CurrentContext = "cluster"
	return clientcmd.WriteToFile(*cfg, filepath.Join(a.folder, user+".kubeconfig"))
}
