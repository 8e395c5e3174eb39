package translate

import (
	"fmt"

	"crossfade.dev/internal/routing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// checkIdentity loads the certificate that Gateway g shows to its backends.
func (b *build) checkIdentity(g *gateway) {
	t := g.object.Spec.TLS
	if t == nil || t.Backend == nil || t.Backend.ClientCertificateRef == nil {
		return
	}
	cert, v, remedy := b.certificate(g.ref, t.Backend.ClientCertificateRef)
	if v.bad() {
		if v.reason != refNotPermitted {
			v.reason = string(gwv1.GatewayReasonInvalidClientCertificateRef)
		}
		g.identityWrong = v
		g.identity = &routing.Identity{Failure: v.message}
		b.report(Error, g.ref, "spec.tls.backend.clientCertificateRef", v.message, remedy)
		return
	}
	g.identity = &routing.Identity{ID: digest(cert.Certificate...), Certificate: cert}
}

// checkClients loads what an HTTPS listener asks of its clients' certificates. With
// no authority to go by it stays closed: to serve without the check that was asked
// for would let everyone in.
func (b *build) checkClients(l *listener) {
	spec, field := clientValidation(l)
	if spec == nil {
		return
	}
	why := caReasons{string(gwv1.ListenerReasonInvalidCACertificateRef), string(gwv1.ListenerReasonInvalidCACertificateKind)}
	var a authorities
	for i, r := range spec.CACertificateRefs {
		to := ObjectRef{Group: string(r.Group), Kind: string(r.Kind), Namespace: value(r.Namespace, l.gateway.ref.Namespace), Name: string(r.Name)}
		if v, remedy := a.add(b, l.gateway.ref, to, why); v.bad() {
			b.report(Error, l.gateway.ref, fmt.Sprintf("%s.caCertificateRefs[%d]", field, i), v.message, remedy)
		}
	}
	if a.wrong.bad() && !l.resolve.bad() {
		l.resolve = a.wrong
	}
	if a.none() {
		b.reject(l, &l.accept, string(gwv1.ListenerReasonNoValidCACertificate), "",
			"there is no authority to validate clients by, so the listener stays closed", "correct "+field+".caCertificateRefs")
		return
	}
	l.clients = &routing.ClientCheck{Roots: a.pool}
	switch spec.Mode {
	case "", gwv1.AllowValidOnly:
	case gwv1.AllowInsecureFallback:
		l.clients.Optional = true
		b.report(Warning, l.gateway.ref, field+".mode", "clients without a valid certificate are served", "set AllowValidOnly once clients have certificates")
	default:
		b.reject(l, &l.accept, unsupportedValue, "", fmt.Sprintf("client validation mode %q is not supported", spec.Mode), "use AllowValidOnly or AllowInsecureFallback")
	}
}

// clientValidation returns what the Gateway says of client certificates on the
// listener's port, and where; nil when it asks for none.
func clientValidation(l *listener) (spec *gwv1.FrontendTLSValidation, field string) {
	t := l.gateway.object.Spec.TLS
	if t == nil || t.Frontend == nil {
		return nil, ""
	}
	for i, p := range t.Frontend.PerPort {
		if p.Port == l.object.Port {
			return p.TLS.Validation, fmt.Sprintf("spec.tls.frontend.perPort[%d].tls.validation", i)
		}
	}
	return t.Frontend.Default.Validation, "spec.tls.frontend.default.validation"
}

// equip hands the listener what concerns certificates other than its own.
func (l *listener) equip() {
	if l.routing != nil {
		l.routing.Clients, l.routing.Identity = l.clients, l.gateway.identity
		if l.set != nil {
			// A set's names need not differ from its Gateway's.
			l.routing.Name = l.set.ref.Namespace + "/" + l.set.ref.Name + "/" + l.name
		}
	}
}

// tlsConditions adds what there is to say of spec.tls.
func (g *gateway) tlsConditions(cs *conditions) {
	switch {
	case g.identityWrong.bad():
		cs.no(resolvedRefs, g.identityWrong.reason, g.identityWrong.message)
	case g.identity != nil:
		cs.yes(resolvedRefs, resolvedRefs, "")
	}
	for _, l := range g.allListeners() {
		if l.clients != nil && l.clients.Optional {
			cs.set(string(gwv1.GatewayConditionInsecureFrontendValidationMode), metav1.ConditionTrue,
				string(gwv1.GatewayReasonConfigurationChanged), "listener "+l.name+" serves clients without a valid certificate")
			return
		}
	}
}
