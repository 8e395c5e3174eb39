package pki

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
)

// TestIssue verifies what a server and a client would: the chain, the names
// and the pairing of certificate and key.
func TestIssue(t *testing.T) {
	folder := t.TempDir()
	a, err := New(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Issue("api", Identity{CommonName: "api", Organizations: []string{"system:masters"}, IPs: []string{"10.0.0.1"}, Names: []string{"kubernetes"}}); err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, "api.crt"), filepath.Join(folder, "api.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(folder, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	for _, name := range []string{"10.0.0.1", "kubernetes"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
			t.Errorf("as %s: %v", name, err)
		}
	}
	if pair.Leaf.Subject.Organization[0] != "system:masters" {
		t.Errorf("groups %q", pair.Leaf.Subject.Organization)
	}
}

func TestKubeconfig(t *testing.T) {
	folder := t.TempDir()
	a, err := New(folder)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Kubeconfig("admin", "https://10.0.0.1:6443"); err == nil {
		t.Error("a kubeconfig for somebody without a certificate")
	}
	if err := a.Issue("admin", Identity{CommonName: "admin"}); err != nil {
		t.Fatal(err)
	}
	if err := a.Kubeconfig("admin", "https://10.0.0.1:6443"); err != nil {
		t.Fatal(err)
	}
	cfg, err := clientcmd.BuildConfigFromFlags("", filepath.Join(folder, "admin.kubeconfig"))
	if err != nil || cfg.Host != "https://10.0.0.1:6443" || len(cfg.CertData) == 0 {
		t.Errorf("config %v, error %v", cfg, err)
	}
}

func TestKeyPair(t *testing.T) {
	folder := t.TempDir()
	if err := (&Authority{folder: folder}).KeyPair("sa"); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"sa.key", "sa.pub"} {
		if _, err := os.Stat(filepath.Join(folder, f)); err != nil {
			t.Error(err)
		}
	}
}
