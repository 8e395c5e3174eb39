package translate

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

const kindConfigMap = "ConfigMap"

// authorityKey is where a ConfigMap holds the certificates of authorities.
const authorityKey = "ca.crt"

// caReasons are the reasons an API has for references to authorities.
type caReasons struct{ invalidRef, invalidKind string }

// authorities gathers what references to authorities lead to.
type authorities struct {
	pool  *x509.CertPool
	pem   [][]byte
	wrong verdict // the first thing wrong with a reference
}

// add adds the certificates that from refers to, or notes what is wrong with the
// reference and returns what to do about it.
func (a *authorities) add(b *build, from, to ObjectRef, why caReasons) (v verdict, remedy string) {
	data, v, remedy := b.authority(from, to, why)
	if !v.bad() {
		if a.pool == nil {
			a.pool = x509.NewCertPool()
		}
		if a.pool.AppendCertsFromPEM(data) {
			a.pem = append(a.pem, data)
			return verdict{}, ""
		}
		v, remedy = verdict{why.invalidRef, fmt.Sprintf("%s holds no certificate under %s", to, authorityKey)}, "put PEM certificates under "+authorityKey
	}
	if !a.wrong.bad() {
		a.wrong = v
	}
	return v, remedy
}

// none says that no reference led to a certificate.
func (a *authorities) none() bool { return len(a.pem) == 0 }

// authority returns the PEM that a reference leads to.
func (b *build) authority(from, to ObjectRef, why caReasons) ([]byte, verdict, string) {
	if to.Group != "" || to.Kind != kindConfigMap {
		return nil, verdict{why.invalidKind, fmt.Sprintf("authorities of kind %s are not supported", to.Kind)}, "name a ConfigMap"
	}
	if !b.grants.permit(from, to) {
		return nil, verdict{refNotPermitted, to.String() + " may not be used from namespace " + from.Namespace}, grantRemedy(from, to)
	}
	m := b.configMaps[types.NamespacedName{Namespace: to.Namespace, Name: to.Name}]
	if m == nil {
		return nil, verdict{why.invalidRef, to.String() + " does not exist"}, "add the ConfigMap or correct the name"
	}
	return configValue(m, authorityKey), verdict{}, ""
}

func configValue(m *corev1.ConfigMap, key string) []byte {
	if v, ok := m.Data[key]; ok {
		return []byte(v)
	}
	return m.BinaryData[key]
}

// digest names a content, of which the order of parts is one.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}
