package translate

import (
	"fmt"
	"net/netip"
	"slices"

	"crossfade.dev/internal/routing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// class is a GatewayClass of ours.
type class struct {
	controller string
	accepted   bool
}

// gateway is a Gateway of ours.
type gateway struct {
	object    *gwv1.Gateway
	ref       ObjectRef
	class     *class
	listeners []*listener
	// refused says why the Gateway as a whole is not served, "" when it is.
	refused, reason string
	// unbound says which of the addresses it asks for it does not get.
	unbound string
	// identity is what its backends are shown, and identityWrong why there is none.
	identity      *routing.Identity
	identityWrong verdict
}

// translateGateways fills b.gateways and decides what their listeners may serve.
func (b *build) translateGateways() {
	classes := b.gatewayClasses()
	for _, o := range oldestFirst(b.in.Gateways) {
		ref := refTo(gatewayGroup, kindGateway, o)
		c, known := classes[string(o.Spec.GatewayClassName)]
		switch {
		case !known && b.everyClassIsOurs():
			b.orphan(o, ref)
			continue
		case c == nil: // another controller's
			continue
		}
		g := &gateway{object: o, ref: ref, class: c}
		b.checkGateway(g)
		b.translateListeners(g)
		b.gateways = append(b.gateways, g)
	}
	b.refuseConflicts()
}

// gatewayClasses returns the GatewayClasses by name, those of other controllers
// as nil, and writes the statuses of ours.
func (b *build) gatewayClasses() map[string]*class {
	classes := map[string]*class{}
	for _, o := range b.in.GatewayClasses {
		if o == nil {
			continue
		}
		controller := string(o.Spec.ControllerName)
		if !b.everyClassIsOurs() && !slices.Contains(b.opts.Controllers, controller) {
			classes[o.Name] = nil
			continue
		}
		if b.opts.Controller != "" {
			controller = b.opts.Controller
		}
		classes[o.Name] = &class{controller: controller, accepted: b.classStatus(o)}
	}
	return classes
}

func (b *build) classStatus(o *gwv1.GatewayClass) bool {
	ref := refTo(gatewayGroup, kindGatewayClass, o)
	cs := conditions{generation: o.Generation}
	ok := o.Spec.ParametersRef == nil
	if ok {
		cs.yes(accepted, accepted, "")
	} else {
		message := fmt.Sprintf("parameters of kind %s are not supported", o.Spec.ParametersRef.Kind)
		cs.no(accepted, string(gwv1.GatewayClassReasonInvalidParameters), message)
		b.report(Error, ref, "spec.parametersRef", message, "remove parametersRef; Crossfade has no class parameters")
	}
	b.statuses = append(b.statuses, Status{Ref: ref, Generation: o.Generation, Conditions: cs.list})
	return ok
}

// orphan reports a Gateway that no controller will serve.
func (b *build) orphan(o *gwv1.Gateway, ref ObjectRef) {
	message := fmt.Sprintf("GatewayClass %s does not exist", o.Spec.GatewayClassName)
	cs := conditions{generation: o.Generation}
	cs.set(accepted, metav1.ConditionUnknown, pending, message)
	cs.set(programmed, metav1.ConditionUnknown, pending, message)
	b.statuses = append(b.statuses, Status{Ref: ref, Generation: o.Generation, Conditions: cs.list})
	b.report(Error, ref, "spec.gatewayClassName", message, "add a GatewayClass of that name or correct the name")
}

// checkGateway looks for what keeps a whole Gateway from being served.
func (b *build) checkGateway(g *gateway) {
	refuse := func(reason, field, message, remedy string) {
		if g.refused == "" {
			g.refused, g.reason = message, reason
		}
		b.report(Error, g.ref, field, message, remedy)
	}
	spec := &g.object.Spec
	if !g.class.accepted {
		refuse(invalid, "spec.gatewayClassName", fmt.Sprintf("GatewayClass %s is not accepted", spec.GatewayClassName), "see the problem of the GatewayClass")
	}
	if infra := spec.Infrastructure; infra != nil && infra.ParametersRef != nil {
		refuse(string(gwv1.GatewayReasonInvalidParameters), "spec.infrastructure.parametersRef",
			fmt.Sprintf("parameters of kind %s are not supported", infra.ParametersRef.Kind), "remove parametersRef")
	}
	for i, a := range spec.Addresses {
		field := fmt.Sprintf("spec.addresses[%d]", i)
		kind := gwv1.IPAddressType
		if a.Type != nil {
			kind = *a.Type
		}
		switch {
		case kind != gwv1.IPAddressType && kind != gwv1.HostnameAddressType:
			refuse(string(gwv1.GatewayReasonUnsupportedAddress), field, fmt.Sprintf("address type %s is not supported", kind), "use IPAddress or Hostname, or leave addresses out")
		case a.Value != "" && len(b.opts.Addresses) > 0 && !slices.Contains(b.opts.Addresses, a.Value):
			g.unbound = fmt.Sprintf("address %s is not one of this gateway's", a.Value)
			b.report(Warning, g.ref, field, g.unbound, "leave addresses out, or start the gateway on that address")
		}
	}
	b.checkIdentity(g)
}

// finishGateways writes the statuses of the Gateways, now that routes are attached.
func (b *build) finishGateways() {
	for _, g := range b.gateways {
		s := Status{Ref: g.ref, Generation: g.object.Generation, Conditions: g.conditions(), Addresses: b.addresses()}
		for _, l := range g.listeners {
			s.Listeners = append(s.Listeners, l.status())
		}
		b.statuses = append(b.statuses, s)
	}
}

func (g *gateway) conditions() []metav1.Condition {
	cs := conditions{generation: g.object.Generation}
	var bad []string
	serving, valid := 0, 0
	for _, l := range g.listeners {
		if l.refused() {
			bad = append(bad, "listener "+l.name+": "+l.message())
		} else {
			valid++
		}
		if l.programmed {
			serving++
		}
	}
	switch {
	case g.refused != "":
		cs.no(accepted, g.reason, g.refused)
	case valid == 0:
		cs.no(accepted, string(gwv1.GatewayReasonListenersNotValid), sentence(append(bad, "no listener can be served")))
	case len(bad) > 0:
		cs.yes(accepted, string(gwv1.GatewayReasonListenersNotValid), sentence(bad))
	default:
		cs.yes(accepted, accepted, "")
	}
	switch {
	case g.refused != "":
		cs.no(programmed, invalid, g.refused)
	case g.unbound != "":
		cs.no(programmed, string(gwv1.GatewayReasonAddressNotUsable), g.unbound)
	case serving == 0:
		cs.no(programmed, invalid, "no listener can be served")
	default:
		cs.yes(programmed, programmed, "")
	}
	g.tlsConditions(&cs)
	return cs.list
}

// addresses are where every Gateway is reached.
func (b *build) addresses() []gwv1.GatewayStatusAddress {
	var out []gwv1.GatewayStatusAddress
	for _, a := range b.opts.Addresses {
		kind := gwv1.HostnameAddressType
		if _, err := netip.ParseAddr(a); err == nil {
			kind = gwv1.IPAddressType
		}
		out = append(out, gwv1.GatewayStatusAddress{Type: &kind, Value: a})
	}
	return out
}
