package translate

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"crossfade.dev/internal/routing"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const kindBackendTLS = "BackendTLSPolicy"

// servicePortName is a port of a Service, or all of them when port is "".
type servicePortName struct{ namespace, name, port string }

// tlsPolicy is a BackendTLSPolicy.
type tlsPolicy struct {
	object *gwv1.BackendTLSPolicy
	ref    ObjectRef
	// tls is what it asks for; nil when that cannot be done, and accept says why.
	tls             *routing.BackendTLS
	accept, resolve verdict
	targets         []tlsTarget
}

// tlsTarget is one of a policy's targets and what is wrong with it.
type tlsTarget struct {
	port  servicePortName
	wrong verdict
}

// tlsPolicies are the BackendTLSPolicies of a Build.
type tlsPolicies struct {
	all []*tlsPolicy
	by  map[servicePortName]*tlsPolicy
	// users are the Gateways with a route to a port, and their controllers.
	users map[servicePortName]map[ObjectRef]string
}

// attachBackendTLS attaches the BackendTLSPolicies to Services, oldest first: a
// later one with the same target is conflicted.
func (b *build) attachBackendTLS() {
	b.tls = &tlsPolicies{by: map[servicePortName]*tlsPolicy{}, users: map[servicePortName]map[ObjectRef]string{}}
	for _, o := range oldestFirst(b.in.BackendTLSPolicies) {
		p := &tlsPolicy{object: o, ref: refTo(gatewayGroup, kindBackendTLS, o)}
		b.checkBackendTLS(p)
		for i := range o.Spec.TargetRefs {
			p.targets = append(p.targets, b.tlsTarget(p, i))
		}
		b.tls.all = append(b.tls.all, p)
	}
}

// tlsTarget attaches p to its target i, if it may have it.
func (b *build) tlsTarget(p *tlsPolicy, i int) tlsTarget {
	r := &p.object.Spec.TargetRefs[i]
	t := tlsTarget{port: servicePortName{p.ref.Namespace, string(r.Name), value(r.SectionName, "")}}
	refuse := func(reason gwv1.PolicyConditionReason, message, remedy string) tlsTarget {
		t.wrong = verdict{string(reason), message}
		b.report(Error, p.ref, fmt.Sprintf("spec.targetRefs[%d]", i), message, remedy)
		return t
	}
	if string(r.Group) != "" || string(r.Kind) != kindService {
		return refuse(gwv1.PolicyReasonTargetNotFound, fmt.Sprintf("a target of kind %s is not supported", r.Kind), "target a Service")
	}
	to := ObjectRef{Kind: kindService, Namespace: p.ref.Namespace, Name: t.port.name}
	s := b.service[nameOfRef(to)]
	switch other := b.tls.by[t.port]; {
	case s == nil:
		return refuse(gwv1.PolicyReasonTargetNotFound, to.String()+" does not exist", "correct the target, which must be in the policy's namespace")
	case t.port.port != "" && !hasPort(s, t.port.port):
		return refuse(gwv1.PolicyReasonTargetNotFound, fmt.Sprintf("%s has no port named %s", to, t.port.port), "correct sectionName")
	case other != nil && other != p:
		return refuse(gwv1.PolicyReasonConflicted, fmt.Sprintf("%s, which is older, has the same target", other.ref), "delete one of the two")
	}
	b.tls.by[t.port] = p
	return t
}

// checkBackendTLS fills in what p asks for, or what is wrong with it.
func (b *build) checkBackendTLS(p *tlsPolicy) {
	v := &p.object.Spec.Validation
	refuse := func(field, message, remedy string) {
		p.accept = verdict{string(gwv1.PolicyReasonInvalid), message}
		b.report(Error, p.ref, field, message, remedy)
	}
	if len(p.object.Spec.Options) > 0 {
		b.report(Warning, p.ref, "spec.options", "TLS options are not honoured", "remove them")
	}
	t := &routing.BackendTLS{ServerName: strings.ToLower(string(v.Hostname))}
	content := [][]byte{[]byte(t.ServerName)}
	for i, n := range v.SubjectAltNames {
		switch {
		case n.Type == gwv1.HostnameSubjectAltNameType && n.Hostname != "":
			t.Names = append(t.Names, strings.ToLower(string(n.Hostname)))
		case n.Type == gwv1.URISubjectAltNameType && n.URI != "":
			t.URIs = append(t.URIs, string(n.URI))
		default:
			refuse(fmt.Sprintf("spec.validation.subjectAltNames[%d]", i), fmt.Sprintf("a subject of type %q is not supported", n.Type), "use Hostname or URI, with the field of that name")
			return
		}
		content = append(content, []byte(n.Type), []byte(n.Hostname), []byte(n.URI))
	}
	switch wellKnown := value(v.WellKnownCACertificates, ""); {
	case len(v.CACertificateRefs) > 0 && wellKnown != "", len(v.CACertificateRefs) == 0 && wellKnown == "":
		refuse("spec.validation", "one of caCertificateRefs and wellKnownCACertificates is needed", "set exactly one of them")
		return
	case wellKnown == string(gwv1.WellKnownCACertificatesSystem):
		content = append(content, []byte(wellKnown))
	case wellKnown != "":
		refuse("spec.validation.wellKnownCACertificates", fmt.Sprintf("authorities %q are not known", wellKnown), "use System or caCertificateRefs")
		return
	default:
		a := b.backendAuthorities(p)
		if a.none() {
			p.accept = verdict{string(gwv1.BackendTLSPolicyReasonNoValidCACertificate), p.resolve.message}
			return
		}
		t.Roots = a.pool
		content = append(content, a.pem...)
	}
	t.ID = digest(content...)
	p.tls = t
}

// backendAuthorities resolves the references of p to authorities.
func (b *build) backendAuthorities(p *tlsPolicy) authorities {
	why := caReasons{string(gwv1.BackendTLSPolicyReasonInvalidCACertificateRef), string(gwv1.BackendTLSPolicyReasonInvalidKind)}
	var a authorities
	for i, r := range p.object.Spec.Validation.CACertificateRefs {
		to := ObjectRef{Group: string(r.Group), Kind: string(r.Kind), Namespace: p.ref.Namespace, Name: string(r.Name)}
		if v, remedy := a.add(b, p.ref, to, why); v.bad() {
			b.report(Error, p.ref, fmt.Sprintf("spec.validation.caCertificateRefs[%d]", i), v.message, remedy)
		}
	}
	p.resolve = a.wrong
	return a
}

// of returns the policy of a Service's port: one for the port alone goes before one
// for the Service.
func (t *tlsPolicies) of(port servicePortName) *tlsPolicy {
	if p := t.by[port]; p != nil {
		return p
	}
	return t.by[servicePortName{port.namespace, port.name, ""}]
}

// used notes that a route of Gateway g leads to a port.
func (t *tlsPolicies) used(port servicePortName, g *gateway) {
	for _, at := range [...]servicePortName{port, {port.namespace, port.name, ""}} {
		if t.users[at] == nil {
			t.users[at] = map[ObjectRef]string{}
		}
		t.users[at][g.ref] = g.class.controller
	}
}

// finishBackendTLS writes the statuses of the policies, whose ancestors are the
// Gateways with a route to a target.
func (b *build) finishBackendTLS() {
	for _, p := range b.tls.all {
		s := Status{Ref: p.ref, Generation: p.object.Generation}
		controllers, wrong := map[ObjectRef]string{}, map[ObjectRef]verdict{}
		for _, t := range p.targets {
			for g, controller := range b.usersOf(t) {
				controllers[g] = controller
				if t.wrong.bad() && !wrong[g].bad() {
					wrong[g] = t.wrong
				}
			}
		}
		for _, g := range slices.SortedFunc(maps.Keys(controllers), CompareRefs) {
			if len(s.Parents) < maxAncestors {
				s.Parents = append(s.Parents, p.status(g, controllers[g], wrong[g]))
			}
		}
		b.statuses = append(b.statuses, s)
	}
}

// usersOf returns the Gateways of a target. Those of a port that does not exist are
// the Service's.
func (b *build) usersOf(t tlsTarget) map[ObjectRef]string {
	if t.wrong.reason == string(gwv1.PolicyReasonTargetNotFound) {
		t.port.port = ""
	}
	return b.tls.users[t.port]
}

func (p *tlsPolicy) status(g ObjectRef, controller string, wrong verdict) ParentStatus {
	cs := conditions{generation: p.object.Generation}
	if p.accept.bad() {
		wrong = p.accept
	}
	if wrong.bad() {
		cs.no(accepted, wrong.reason, wrong.message)
	} else {
		cs.yes(accepted, accepted, "")
	}
	if p.resolve.bad() {
		cs.no(resolvedRefs, p.resolve.reason, p.resolve.message)
	} else {
		cs.yes(resolvedRefs, resolvedRefs, "")
	}
	return ParentStatus{Parent: g, Controller: controller, Conditions: cs.list}
}
