package translate

import (
	"crypto/tls"
	"fmt"
	"strings"

	"crossfade.dev/internal/routing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// listener is one listener of a Gateway of ours.
type listener struct {
	gateway  *gateway
	set      *listenerSet // nil: the Gateway's own
	object   *gwv1.Listener
	field    string // spec.listeners[i]
	name     string
	hostname string // lower case
	port     uint16
	tls      bool
	// kinds are the route kinds the listener asks for and we support.
	kinds []gwv1.RouteGroupKind
	// admits says which namespaces' routes may attach.
	admits func(namespace string) bool
	// accept, conflict and resolve are what is wrong; zero is nothing.
	accept, conflict, resolve verdict
	overlaps                  string // the listener it shares TLS hostnames with
	certificates              []tls.Certificate
	attached                  int32
	programmed                bool
	clients                   *routing.ClientCheck // nil: no client certificate is asked for
	routing                   *routing.Listener
}

// verdict is the reason and message of a condition that is not as it should be.
type verdict struct{ reason, message string }

func (v verdict) bad() bool { return v.reason != "" }

// refused says that no route of the listener is served.
func (l *listener) refused() bool { return l.accept.bad() || l.conflict.bad() }

// message is why the listener is refused.
func (l *listener) message() string {
	if l.accept.bad() {
		return l.accept.message
	}
	return l.conflict.message
}

func (b *build) translateListeners(g *gateway) {
	for i := range g.object.Spec.Listeners {
		g.listeners = append(g.listeners, b.translateListener(g, nil, &g.object.Spec.Listeners[i], i))
	}
	b.findIndistinct(g)
	b.translateSets(g)
}

// translateListener translates listener i of a Gateway, or of one of its sets.
func (b *build) translateListener(g *gateway, set *listenerSet, o *gwv1.Listener, i int) *listener {
	l := &listener{gateway: g, set: set, object: o, field: fmt.Sprintf("spec.listeners[%d]", i), name: string(o.Name)}
	if o.Hostname != nil {
		l.hostname = strings.ToLower(string(*o.Hostname))
	}
	b.checkProtocol(l)
	b.checkKinds(l)
	b.checkNamespaces(l)
	if l.tls && !l.refused() {
		b.checkTLS(l)
	}
	return l
}

// reject sets what is wrong unless something already is, and reports it.
func (b *build) reject(l *listener, v *verdict, reason, field, message, remedy string) {
	if !v.bad() {
		*v = verdict{reason, message}
	}
	b.report(Error, l.owner(), l.field+field, message, remedy)
}

func (b *build) checkProtocol(l *listener) {
	switch l.object.Protocol {
	case gwv1.HTTPProtocolType:
	case gwv1.HTTPSProtocolType:
		l.tls = true
	default:
		b.reject(l, &l.accept, string(gwv1.ListenerReasonUnsupportedProtocol), ".protocol",
			fmt.Sprintf("protocol %q is not supported", l.object.Protocol), "use HTTP or HTTPS")
	}
	if p := l.object.Port; p < 1 || p > 65535 {
		b.reject(l, &l.accept, string(gwv1.ListenerReasonPortUnavailable), ".port", fmt.Sprintf("port %d does not exist", p), "use 1 to 65535")
		return
	}
	if l.object.Port == DataPlaneAdminPort && b.opts.Cluster {
		b.reject(l, &l.accept, string(gwv1.ListenerReasonPortUnavailable), ".port",
			fmt.Sprintf("port %d is the data plane's own, for metrics and health", l.object.Port), "use another port")
	}
	l.port = uint16(l.object.Port)
}

// checkKinds intersects the route kinds the listener allows with those its
// protocol has here: HTTPRoute.
func (b *build) checkKinds(l *listener) {
	if p := l.object.Protocol; p != gwv1.HTTPProtocolType && p != gwv1.HTTPSProtocolType {
		return
	}
	group := gwv1.Group(gatewayGroup)
	httpRoute := gwv1.RouteGroupKind{Group: &group, Kind: kindHTTPRoute}
	if l.object.AllowedRoutes == nil || len(l.object.AllowedRoutes.Kinds) == 0 {
		l.kinds = []gwv1.RouteGroupKind{httpRoute}
		return
	}
	for i, k := range l.object.AllowedRoutes.Kinds {
		if k.Kind == kindHTTPRoute && value(k.Group, gatewayGroup) == gatewayGroup {
			l.kinds = []gwv1.RouteGroupKind{httpRoute}
			continue
		}
		b.reject(l, &l.resolve, string(gwv1.ListenerReasonInvalidRouteKinds), fmt.Sprintf(".allowedRoutes.kinds[%d]", i),
			fmt.Sprintf("routes of kind %s in group %s are not supported", k.Kind, value(k.Group, gatewayGroup)), "allow HTTPRoute")
	}
}

// checkNamespaces makes l.admits of allowedRoutes.namespaces.
func (b *build) checkNamespaces(l *listener) {
	own := l.owner().Namespace
	l.admits = func(namespace string) bool { return namespace == own }
	if l.object.AllowedRoutes == nil || l.object.AllowedRoutes.Namespaces == nil || l.object.AllowedRoutes.Namespaces.From == nil {
		return
	}
	n := l.object.AllowedRoutes.Namespaces
	none := func(string) bool { return false }
	switch *n.From {
	case gwv1.NamespacesFromSame:
	case gwv1.NamespacesFromAll:
		l.admits = func(string) bool { return true }
	case gwv1.NamespacesFromNone:
		l.admits = none
	case gwv1.NamespacesFromSelector:
		l.admits = none
		selector, err := metav1.LabelSelectorAsSelector(n.Selector)
		if err != nil {
			b.reject(l, &l.accept, unsupportedValue, ".allowedRoutes.namespaces.selector", err.Error(), "correct the selector")
			return
		}
		l.admits = func(namespace string) bool { return selector.Matches(b.namespaceLabels(namespace)) }
	default:
		l.admits = none
		b.reject(l, &l.accept, unsupportedValue, ".allowedRoutes.namespaces.from", fmt.Sprintf("%q is not supported", *n.From), "use Same, All or Selector")
	}
}

// allows says whether HTTPRoutes of a namespace may attach.
func (l *listener) allows(namespace string) bool { return len(l.kinds) > 0 && l.admits(namespace) }

func (l *listener) status() ListenerStatus {
	cs := conditions{generation: l.generation()}
	switch {
	case l.accept.bad():
		cs.no(accepted, l.accept.reason, l.accept.message)
	case l.conflict.bad():
		cs.no(accepted, l.conflict.reason, l.conflict.message)
	default:
		cs.yes(accepted, accepted, "")
	}
	switch {
	case l.programmed:
		cs.yes(programmed, programmed, "")
	case l.set != nil && l.conflict.bad():
		cs.no(programmed, l.conflict.reason, l.conflict.message)
	default:
		cs.no(programmed, invalid, l.idle())
	}
	if l.resolve.bad() {
		cs.no(resolvedRefs, l.resolve.reason, l.resolve.message)
	} else {
		cs.yes(resolvedRefs, resolvedRefs, "")
	}
	if l.conflict.bad() {
		cs.yes(string(gwv1.ListenerConditionConflicted), l.conflict.reason, l.conflict.message)
	} else {
		cs.no(string(gwv1.ListenerConditionConflicted), string(gwv1.ListenerReasonNoConflicts), "")
	}
	if l.overlaps != "" {
		cs.yes(string(gwv1.ListenerConditionOverlappingTLSConfig), string(gwv1.ListenerReasonOverlappingHostnames),
			"its hostname overlaps that of listener "+l.overlaps)
	}
	kinds := l.kinds
	if kinds == nil {
		kinds = []gwv1.RouteGroupKind{}
	}
	return ListenerStatus{Name: l.name, SupportedKinds: kinds, AttachedRoutes: l.attached, Conditions: cs.list}
}

// idle is why the listener is not programmed.
func (l *listener) idle() string {
	switch {
	case l.refused():
		return l.message()
	case l.gateway.refused != "":
		return l.gateway.refused
	}
	return l.resolve.message
}
