package translate

import (
	"fmt"
	"net/netip"
	"slices"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/routing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// class is a GatewayClass of ours.
type class struct {
	controller string
	accepted   bool
	parameters cfv1a1.GatewayParametersSpec
}

// gateway is a Gateway of ours.
type gateway struct {
	object    *gwv1.Gateway
	ref       ObjectRef
	class     *class
	listeners []*listener
	sets      []*listenerSet // that name it as their parent, oldest first
	// refused says why the Gateway as a whole is not served, "" when it is.
	refused, reason string
	// unbound says which of the addresses it asks for it does not get.
	unbound string
	// parameters are those of the Gateway and its class, merged.
	parameters cfv1a1.GatewayParametersSpec
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
		case b.others(ref):
			continue
		case !known && b.opts.Only.Name != "":
			// A data plane was made for this Gateway; that its class is gone is
			// no reason to stop serving.
			c = &class{controller: b.opts.Controller, accepted: true}
		case !known && b.alone():
			b.orphan(o, ref)
			continue
		case !known:
			b.classless = append(b.classless, o)
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

// others says that a Gateway is another data plane's.
func (b *build) others(ref ObjectRef) bool {
	return b.opts.Only.Name != "" && (ref.Namespace != b.opts.Only.Namespace || ref.Name != b.opts.Only.Name)
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
		c := &class{controller: controller}
		c.parameters, c.accepted = b.classStatus(o)
		classes[o.Name] = c
	}
	return classes
}

// classStatus writes the status of a class of ours and returns the parameters it
// gives its Gateways.
func (b *build) classStatus(o *gwv1.GatewayClass) (cfv1a1.GatewayParametersSpec, bool) {
	ref := refTo(gatewayGroup, kindGatewayClass, o)
	cs := conditions{generation: o.Generation}
	parameters, v, remedy := b.classParameters(o)
	if v.bad() {
		cs.no(accepted, string(gwv1.GatewayClassReasonInvalidParameters), v.message)
		b.report(Error, ref, "spec.parametersRef", v.message, remedy)
	} else {
		cs.yes(accepted, accepted, "")
	}
	b.statuses = append(b.statuses, Status{Ref: ref, Generation: o.Generation, Conditions: cs.list})
	return parameters, !v.bad()
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
	parameters, v, remedy := b.gatewayParameters(g)
	if v.bad() {
		refuse(v.reason, "spec.infrastructure.parametersRef", v.message, remedy)
	}
	g.parameters = parameters
	b.checkAddresses(g, refuse)
	b.checkIdentity(g)
}

// checkAddresses looks at the addresses a Gateway asks for. A data plane serves
// wherever its Service leads to it.
func (b *build) checkAddresses(g *gateway, refuse func(reason, field, message, remedy string)) {
	if b.opts.Only.Name != "" {
		return
	}
	for i, a := range g.object.Spec.Addresses {
		field := fmt.Sprintf("spec.addresses[%d]", i)
		kind := gwv1.IPAddressType
		if a.Type != nil {
			kind = *a.Type
		}
		switch {
		case kind != gwv1.IPAddressType && kind != gwv1.HostnameAddressType:
			refuse(string(gwv1.GatewayReasonUnsupportedAddress), field, fmt.Sprintf("address type %s is not supported", kind), "use IPAddress or Hostname, or leave addresses out")
		case b.opts.Cluster && kind != gwv1.IPAddressType:
			refuse(string(gwv1.GatewayReasonUnsupportedAddress), field, "only IP addresses can be asked for", "use IPAddress, or leave addresses out")
		case a.Value != "" && len(b.opts.Addresses) > 0 && !slices.Contains(b.opts.Addresses, a.Value):
			g.unbound = fmt.Sprintf("address %s is not one of this gateway's", a.Value)
			b.report(Warning, g.ref, field, g.unbound, "leave addresses out, or start the gateway on that address")
		}
	}
}

// finishGateways writes the statuses of the Gateways, now that routes are attached.
func (b *build) finishGateways() {
	for _, g := range b.gateways {
		at := b.whereabouts(g)
		s := Status{Ref: g.ref, Generation: g.object.Generation, Conditions: g.conditions(at), Addresses: statusAddresses(at.addresses), AttachedSets: g.attachedSets()}
		for _, l := range g.listeners {
			s.Listeners = append(s.Listeners, l.status())
		}
		b.statuses = append(b.statuses, s)
	}
}

func (g *gateway) conditions(at whereabouts) []metav1.Condition {
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
	case at.pending.bad():
		cs.no(programmed, at.pending.reason, at.pending.message)
	default:
		cs.yes(programmed, programmed, "")
	}
	g.tlsConditions(&cs)
	return cs.list
}

func statusAddresses(list []string) []gwv1.GatewayStatusAddress {
	var out []gwv1.GatewayStatusAddress
	for _, a := range list {
		kind := gwv1.HostnameAddressType
		if _, err := netip.ParseAddr(a); err == nil {
			kind = gwv1.IPAddressType
		}
		out = append(out, gwv1.GatewayStatusAddress{Type: &kind, Value: a})
	}
	return out
}
