package translate

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const kindListenerSet = "ListenerSet"

// listenerSet is a ListenerSet whose parent is a Gateway of ours.
type listenerSet struct {
	object    *gwv1.ListenerSet
	ref       ObjectRef
	gateway   *gateway
	listeners []*listener
	// refused says that the Gateway does not take the set.
	refused verdict
}

// gatewayOf returns the name of the Gateway that a set is for, "" for a parent of
// another kind.
func gatewayOf(o *gwv1.ListenerSet) string {
	r := &o.Spec.ParentRef
	if value(r.Kind, kindGateway) != kindGateway || value(r.Group, gatewayGroup) != gatewayGroup {
		return ""
	}
	return value(r.Namespace, o.Namespace) + "/" + string(r.Name)
}

// translateSets adds the listeners of the sets of Gateway g, oldest set first. What
// an earlier listener has, a later one does not get: the Gateway's own go first.
func (b *build) translateSets(g *gateway) {
	for _, o := range oldestFirst(b.in.ListenerSets) {
		if gatewayOf(o) != g.ref.Namespace+"/"+g.ref.Name {
			continue
		}
		s := &listenerSet{object: o, ref: refTo(gatewayGroup, kindListenerSet, o), gateway: g}
		g.sets = append(g.sets, s)
		if b.admitSet(s); s.refused.bad() {
			continue
		}
		for i := range o.Spec.Listeners {
			e := gwv1.Listener(o.Spec.Listeners[i])
			s.listeners = append(s.listeners, b.translateListener(g, s, &e, i))
		}
	}
	b.findSetConflicts(g)
}

// admitSet asks the Gateway whether it takes listeners from the set's namespace.
func (b *build) admitSet(s *listenerSet) {
	refuse := func(message, remedy string) {
		s.refused = verdict{string(gwv1.ListenerSetReasonNotAllowed), message}
		b.report(Error, s.ref, "spec.parentRef", message, remedy)
	}
	from, selector := gwv1.NamespacesFromNone, (*metav1.LabelSelector)(nil)
	if a := s.gateway.object.Spec.AllowedListeners; a != nil && a.Namespaces != nil && a.Namespaces.From != nil {
		from, selector = *a.Namespaces.From, a.Namespaces.Selector
	}
	allowed := false
	switch from {
	case gwv1.NamespacesFromAll:
		allowed = true
	case gwv1.NamespacesFromSame:
		allowed = s.ref.Namespace == s.gateway.ref.Namespace
	case gwv1.NamespacesFromSelector:
		match, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			refuse("the selector of the Gateway's allowedListeners is not valid", "correct it in the Gateway")
			return
		}
		allowed = match.Matches(b.namespaceLabels(s.ref.Namespace))
	}
	if !allowed {
		refuse(fmt.Sprintf("%s takes no listeners from namespace %s", s.gateway.ref, s.ref.Namespace), "set allowedListeners of the Gateway")
	}
}

// findSetConflicts refuses the listeners of sets that want what the Gateway or an
// earlier set has.
func (b *build) findSetConflicts(g *gateway) {
	type taken struct {
		first *listener
		hosts map[string]*listener
	}
	ports := map[uint16]*taken{}
	for _, l := range g.allListeners() {
		at := ports[l.port]
		switch {
		case at != nil && l.set != nil && l.object.Protocol != at.first.object.Protocol:
			// That it cannot be served at all says less than that it must not.
			l.accept = verdict{}
			b.conflict(l, at.first, string(gwv1.ListenerReasonProtocolConflict))
			continue
		case at != nil && l.set != nil && at.hosts[l.hostname] != nil:
			b.conflict(l, at.hosts[l.hostname], string(gwv1.ListenerReasonHostnameConflict))
			continue
		case l.accept.bad():
			continue
		case at == nil:
			at = &taken{first: l, hosts: map[string]*listener{}}
			ports[l.port] = at
		}
		at.hosts[l.hostname] = l
	}
}

// allListeners returns the Gateway's own listeners, then those of its sets.
func (g *gateway) allListeners() []*listener {
	out := append([]*listener(nil), g.listeners...)
	for _, s := range g.sets {
		out = append(out, s.listeners...)
	}
	return out
}

// served says that some listener of the set is.
func (s *listenerSet) served() bool {
	for _, l := range s.listeners {
		if l.programmed {
			return true
		}
	}
	return false
}

// attachedSets is how many sets the Gateway has taken; nil when it has none at all.
func (g *gateway) attachedSets() *int32 {
	if len(g.sets) == 0 {
		return nil
	}
	n := int32(0)
	for _, s := range g.sets {
		if s.served() {
			n++
		}
	}
	return &n
}

// finishSets writes the statuses of the sets, now that routes are attached.
func (b *build) finishSets() {
	for _, g := range b.gateways {
		for _, s := range g.sets {
			out := Status{Ref: s.ref, Generation: s.object.Generation, Conditions: s.conditions()}
			for _, l := range s.listeners {
				out.Listeners = append(out.Listeners, l.status())
			}
			b.statuses = append(b.statuses, out)
		}
	}
	b.reportStraySets()
}

func (s *listenerSet) conditions() []metav1.Condition {
	cs := conditions{generation: s.object.Generation}
	no := s.refused
	var bad []string
	for _, l := range s.listeners {
		if !l.programmed {
			bad = append(bad, "listener "+l.name+": "+l.idle())
		}
	}
	switch {
	case no.bad():
	case s.gateway.refused != "":
		no = verdict{string(gwv1.ListenerSetReasonParentNotAccepted), s.gateway.refused}
	case !s.served():
		no = verdict{string(gwv1.ListenerSetReasonListenersNotValid), sentence(bad)}
	}
	switch {
	case no.bad():
		cs.no(accepted, no.reason, no.message)
		cs.no(programmed, no.reason, no.message)
		return cs.list
	case len(bad) > 0:
		cs.yes(accepted, string(gwv1.ListenerSetReasonListenersNotValid), sentence(bad))
	default:
		cs.yes(accepted, accepted, "")
	}
	cs.yes(programmed, programmed, "")
	return cs.list
}

// reportStraySets reports sets that belong to no Gateway at all.
func (b *build) reportStraySets() {
	if !b.alone() {
		return
	}
	exists := map[string]bool{}
	for _, o := range b.in.Gateways {
		if o != nil {
			exists[o.Namespace+"/"+o.Name] = true
		}
	}
	for _, o := range b.in.ListenerSets {
		if o == nil || exists[gatewayOf(o)] {
			continue
		}
		message, remedy := "Gateway "+gatewayOf(o)+" does not exist", "add the Gateway or correct the reference"
		if gatewayOf(o) == "" {
			message, remedy = "a parent of another kind than Gateway is not supported", "name a Gateway"
		}
		b.report(Error, refTo(gatewayGroup, kindListenerSet, o), "spec.parentRef", message, remedy)
	}
}

// owner is the object the listener is written in.
func (l *listener) owner() ObjectRef {
	if l.set != nil {
		return l.set.ref
	}
	return l.gateway.ref
}

// generation is that of the listener's owner.
func (l *listener) generation() int64 {
	if l.set != nil {
		return l.set.object.Generation
	}
	return l.gateway.object.Generation
}
