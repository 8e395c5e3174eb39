package translate

import (
	"fmt"

	"crossfade.dev/internal/routing"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// backend translates one backendRef of rule r. One that cannot be used keeps its
// weight without a pool.
func (b *build) backend(r *rule, i int) routing.Backend {
	spec := &r.spec.BackendRefs[i]
	field := fmt.Sprintf("%s.backendRefs[%d]", r.field, i)
	to, port, name := r.reference(&spec.BackendObjectReference)
	out := routing.Backend{Ref: name, Weight: weight(spec.Weight, 1)}
	pool, wrong, remedy := b.resolve(r.route, to, port)
	if wrong.bad() {
		r.route.unresolved = append(r.route.unresolved, wrong)
		b.report(Error, r.route.ref, field, wrong.message, remedy)
		out.Failure = wrong.message
		return out
	}
	if out.Failure = b.broken(to, pool); out.Failure != "" {
		return out // whose fault it is has reported it
	}
	filters, f := b.filters(r, spec.Filters, field, true)
	if f != nil {
		f.backend = i
		b.fail(r, f)
		out.Failure = f.message
		return out
	}
	out.Filters, out.Pool = filters, pool
	return out
}

// reference says which object and port of it r refers to, and what to call them.
func (r *rule) reference(to *gwv1.BackendObjectReference) (ref ObjectRef, port int32, name string) {
	ref = ObjectRef{Group: value(to.Group, ""), Kind: value(to.Kind, kindService),
		Namespace: value(to.Namespace, r.route.ref.Namespace), Name: string(to.Name)}
	if to.Port != nil {
		port = *to.Port
	}
	if ref.Group == "" && ref.Kind == kindService {
		return ref, port, fmt.Sprintf("%s:%d", ref, port)
	}
	return ref, port, ref.String()
}

// resolve finds the pool a route refers to, or says what is wrong with the
// reference, in terms of ResolvedRefs, and what to do about it. Permission is
// asked before existence, so that a stranger learns nothing of other namespaces.
func (b *build) resolve(r *route, to ObjectRef, port int32) (*routing.Pool, verdict, string) {
	inference := to.Kind == kindInferencePool && (to.Group == inferenceGroup || to.Group == legacyGroup)
	service := to.Kind == kindService && to.Group == ""
	if !inference && !service {
		return nil, verdict{string(gwv1.RouteReasonInvalidKind), fmt.Sprintf("a backend of kind %s in group %q is not supported", to.Kind, to.Group)},
			"use a Service or an InferencePool (groups " + inferenceGroup + " and " + legacyGroup + ")"
	}
	if !b.grants.permit(r.ref, to) {
		return nil, verdict{refNotPermitted, to.String() + " may not be used from namespace " + r.ref.Namespace}, grantRemedy(r.ref, to)
	}
	if service {
		p := b.serviceBackend(to, port)
		if !p.wrong.bad() {
			r.services = append(r.services, p.name)
		}
		return p.pool, p.wrong, p.remedy
	}
	p := b.pools[to]
	if p == nil {
		message := to.String() + " does not exist"
		remedy := "add the pool or correct the name"
		if other, _ := otherGroup(to); b.pools[other] != nil {
			message += " in group " + to.Group
			remedy = "set group to " + other.Group
		}
		return nil, verdict{string(gwv1.RouteReasonBackendNotFound), message}, remedy
	}
	r.pools = append(r.pools, p)
	return p.routing, verdict{}, ""
}

// broken says why a pool that resolves must not be used, "" when it may.
func (b *build) broken(to ObjectRef, pool *routing.Pool) string {
	if p := b.pools[to]; p != nil && p.picker.bad() {
		return p.picker.message
	}
	if p := b.services[pool.ID]; p != nil {
		return p.broken
	}
	return ""
}
