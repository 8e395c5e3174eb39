package translate

import (
	"crypto/tls"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// checkTLS loads the certificates of an HTTPS listener. Those that do not resolve
// are reported; the listener serves with the others.
func (b *build) checkTLS(l *listener) {
	b.checkClients(l)
	c := l.object.TLS
	if c == nil {
		c = &gwv1.ListenerTLSConfig{}
	}
	if c.Mode != nil && *c.Mode != gwv1.TLSModeTerminate {
		b.reject(l, &l.accept, unsupportedValue, ".tls.mode", fmt.Sprintf("mode %s is not supported", *c.Mode), "use Terminate")
		return
	}
	if len(c.Options) > 0 {
		b.report(Warning, l.owner(), l.field+".tls.options", "TLS options are not honoured", "remove them")
	}
	const reason = string(gwv1.ListenerReasonInvalidCertificateRef)
	if len(c.CertificateRefs) == 0 {
		b.reject(l, &l.resolve, reason, ".tls.certificateRefs", "an HTTPS listener needs a certificate", "name a Secret of type kubernetes.io/tls")
	}
	for i := range c.CertificateRefs {
		field := fmt.Sprintf(".tls.certificateRefs[%d]", i)
		cert, v, remedy := b.certificate(l.owner(), &c.CertificateRefs[i])
		if v.bad() {
			b.reject(l, &l.resolve, v.reason, field, v.message, remedy)
			continue
		}
		l.certificates = append(l.certificates, cert)
	}
}

// certificate loads the certificate of one reference of a Gateway, or says what
// is wrong with it and what to do.
func (b *build) certificate(from ObjectRef, r *gwv1.SecretObjectReference) (tls.Certificate, verdict, string) {
	const reason = string(gwv1.ListenerReasonInvalidCertificateRef)
	to := certificateRef(from, r)
	if to.Group != "" || to.Kind != kindSecret {
		return tls.Certificate{}, verdict{reason, fmt.Sprintf("certificates of kind %s are not supported", to.Kind)}, "name a Secret"
	}
	if !b.grants.permit(from, to) {
		return tls.Certificate{}, verdict{refNotPermitted, to.String() + " may not be used from namespace " + from.Namespace}, grantRemedy(from, to)
	}
	s := b.secrets[types.NamespacedName{Namespace: to.Namespace, Name: to.Name}]
	if s == nil {
		return tls.Certificate{}, verdict{reason, to.String() + " does not exist"}, "add the Secret or correct the name"
	}
	cert, err := tls.X509KeyPair(secretValue(s, corev1.TLSCertKey), secretValue(s, corev1.TLSPrivateKeyKey))
	if err != nil {
		// The error names what is missing or does not fit, never the key itself.
		return tls.Certificate{}, verdict{reason, fmt.Sprintf("%s holds no usable certificate: %v", to, err)}, "put a PEM certificate and its key under tls.crt and tls.key"
	}
	return cert, verdict{}, ""
}

// certificateRef is what a reference of Gateway from names.
func certificateRef(from ObjectRef, r *gwv1.SecretObjectReference) ObjectRef {
	return ObjectRef{Group: value(r.Group, ""), Kind: value(r.Kind, kindSecret), Namespace: value(r.Namespace, from.Namespace), Name: string(r.Name)}
}

// secretValue returns a Secret's value; stringData, which an API server would
// have moved into data, goes first.
func secretValue(s *corev1.Secret, key string) []byte {
	if v, ok := s.StringData[key]; ok {
		return []byte(v)
	}
	return s.Data[key]
}
