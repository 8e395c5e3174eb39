package translate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	egv1a1 "crossfade.dev/api/envoygateway/v1alpha1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const (
	kindClientPolicy  = "ClientTrafficPolicy"
	kindBackendPolicy = "BackendTrafficPolicy"
)

// unsupportedFields is the type of a policy's condition that names the fields of
// its spec that are not honoured. It is ours; no API defines one.
const unsupportedFields = "UnsupportedFields"

// maxAncestors is how many ancestors a policy's status may list (Gateway API).
const maxAncestors = 16

// policy is a policy of either kind.
type policy struct {
	ref        ObjectRef
	generation int64
	targets    []egv1a1.TargetRef
	kinds      []string // that it may be attached to
	wrong      string   // what is invalid in it, and field where
	field      string
	// bufferLimit and requestTimeout are what it sets; nil when it does not.
	bufferLimit    *int64
	requestTimeout *time.Duration
}

// attachPolicies attaches the policies of both kinds, oldest first: a later one
// with the same target is conflicted.
func (b *build) attachPolicies() {
	b.limits, b.timeouts = map[target]*policy{}, map[target]*policy{}
	finder := b.newTargetFinder()
	for _, o := range oldestFirst(b.in.ClientTrafficPolicies) {
		b.attachPolicy(clientPolicy(o), b.limits, finder)
	}
	for _, o := range oldestFirst(b.in.BackendTrafficPolicies) {
		b.attachPolicy(backendPolicy(o), b.timeouts, finder)
	}
	b.attachBackendTLS()
	for _, g := range b.gateways {
		for _, l := range g.allListeners() {
			l.equip()
			b.limitBodies(l)
		}
	}
}

func clientPolicy(o *egv1a1.ClientTrafficPolicy) *policy {
	p := &policy{ref: refTo(egv1a1.Group, kindClientPolicy, o), generation: o.Generation, targets: o.Spec.All(), kinds: []string{kindGateway}}
	if c := o.Spec.Connection; c != nil && c.BufferLimit != nil {
		limit := c.BufferLimit.DeepCopy() // printing a Quantity may change it
		if n, ok := limit.AsInt64(); ok && n > 0 {
			p.bufferLimit = &n
		} else {
			p.wrong, p.field = fmt.Sprintf("bufferLimit %s is no positive number of bytes", limit.String()), "spec.connection.bufferLimit"
		}
	}
	return p
}

func backendPolicy(o *egv1a1.BackendTrafficPolicy) *policy {
	p := &policy{ref: refTo(egv1a1.Group, kindBackendPolicy, o), generation: o.Generation, targets: o.Spec.All(), kinds: []string{kindGateway, kindHTTPRoute}}
	if t := o.Spec.Timeout; t != nil && t.HTTP != nil && t.HTTP.RequestTimeout != nil {
		if d, ok := duration(*t.HTTP.RequestTimeout); ok {
			p.requestTimeout = &d
		} else {
			p.wrong, p.field = fmt.Sprintf("requestTimeout %q is no duration", *t.HTTP.RequestTimeout), "spec.timeout.http.requestTimeout"
		}
	}
	return p
}

// attachPolicy attaches p to each of its targets that it may have and writes its
// status.
func (b *build) attachPolicy(p *policy, taken map[target]*policy, find *targetFinder) {
	s := Status{Ref: p.ref, Generation: p.generation}
	fields := b.in.UnhonouredFields[p.ref]
	for _, f := range fields {
		b.report(Warning, p.ref, f, "the field is not honoured", "remove it if you can do without")
	}
	if p.wrong != "" {
		b.report(Error, p.ref, p.field, p.wrong, "correct the value")
	}
	if len(p.targets) == 0 {
		b.report(Error, p.ref, "spec", "the policy names no target, so it is not used", "add targetRefs")
	}
	for i, r := range p.targets {
		ancestors, v, remedy := find.find(p, r, taken)
		if v.bad() && v.reason != string(gwv1.PolicyReasonInvalid) {
			b.report(Error, p.ref, fmt.Sprintf("spec.targetRefs[%d]", i), v.message, remedy)
		}
		for _, a := range ancestors {
			s.Parents = addAncestor(s.Parents, a, p.generation, v, fields)
		}
	}
	b.statuses = append(b.statuses, s)
}

// addAncestor adds what became of a policy at one ancestor, unless it is there.
func addAncestor(list []ParentStatus, a ParentStatus, generation int64, v verdict, fields []string) []ParentStatus {
	same := func(p ParentStatus) bool { return p.Parent == a.Parent && p.Section == a.Section }
	if len(list) >= maxAncestors || slices.ContainsFunc(list, same) {
		return list
	}
	cs := conditions{generation: generation}
	if v.bad() {
		cs.no(accepted, v.reason, v.message)
	} else {
		cs.yes(accepted, string(gwv1.PolicyReasonAccepted), "")
	}
	if len(fields) > 0 {
		cs.yes(unsupportedFields, unsupportedValue, "not honoured: "+sentence([]string{strings.Join(fields, ", ")}))
	}
	a.Conditions = cs.list
	return append(list, a)
}

// limitBodies gives a listener the body limit of the most specific policy.
func (b *build) limitBodies(l *listener) {
	if l.routing == nil {
		return
	}
	if p := first(b.limits, listenerTarget(l), gatewayTarget(l.gateway)); p != nil && p.bufferLimit != nil {
		l.routing.MaxBodyBytes, l.routing.MaxBodySource = *p.bufferLimit, p.ref.String()
	}
}

// requestTimeout returns what the most specific policy says of the request
// timeout of a rule at a listener.
func (b *build) requestTimeout(r *rule, l *listener) (time.Duration, bool) {
	of := target{kind: kindHTTPRoute, namespace: r.route.ref.Namespace, name: r.route.ref.Name}
	named := of
	named.section = value(r.spec.Name, "")
	p := first(b.timeouts, named, of, listenerTarget(l), gatewayTarget(l.gateway))
	if p == nil || p.requestTimeout == nil {
		return 0, false
	}
	return *p.requestTimeout, true
}

// first returns the policy of the first target that has one. It is taken whole:
// what a more specific policy leaves open is not filled from others.
func first(m map[target]*policy, targets ...target) *policy {
	for _, t := range targets {
		if p := m[t]; p != nil {
			return p
		}
	}
	return nil
}
