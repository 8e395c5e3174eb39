package translate

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/routing"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// servicePort finds a port of a Service by its number, or says, in terms of a
// route's ResolvedRefs, what is wrong and what to do.
func (b *build) servicePort(to ObjectRef, port int32) (*corev1.Service, *corev1.ServicePort, verdict, string) {
	const notFound = string(gwv1.RouteReasonBackendNotFound)
	s := b.service[types.NamespacedName{Namespace: to.Namespace, Name: to.Name}]
	switch {
	case s == nil:
		return nil, nil, verdict{notFound, to.String() + " does not exist"}, "add the Service or correct the name"
	case s.Spec.Type == corev1.ServiceTypeExternalName:
		// Following such a name could be made to lead anywhere (CVE-2021-25740).
		return nil, nil, verdict{string(gwv1.RouteReasonInvalidKind), to.String() + " is of type ExternalName, which is not supported"}, "use a Service with endpoints"
	case port == 0:
		return nil, nil, verdict{notFound, "a reference to a Service needs a port"}, "add port: one of " + portList(s)
	}
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.Port == port && (p.Protocol == "" || p.Protocol == corev1.ProtocolTCP) {
			return s, p, verdict{}, ""
		}
	}
	return nil, nil, verdict{notFound, fmt.Sprintf("%s has no port %d", to, port)}, "use one of " + portList(s)
}

func portList(s *corev1.Service) string {
	var out []string
	for _, p := range s.Spec.Ports {
		out = append(out, strconv.Itoa(int(p.Port)))
	}
	if len(out) == 0 {
		return "none (the Service has no ports)"
	}
	return strings.Join(out, ", ")
}

// servicePool is a Service's port as a pool, or what is wrong with it.
type servicePool struct {
	pool   *routing.Pool
	name   servicePortName
	wrong  verdict
	remedy string
	// broken says why the pool must not be used although it resolves.
	broken string
}

// serviceBackend returns the pool behind a Service's port, the same one for every
// reference to it.
func (b *build) serviceBackend(to ObjectRef, port int32) *servicePool {
	id := fmt.Sprintf("%s/%s/%s:%d", kindService, to.Namespace, to.Name, port)
	if p := b.services[id]; p != nil {
		return p
	}
	p := &servicePool{}
	b.services[id] = p
	var s *corev1.Service
	var sp *corev1.ServicePort
	if s, sp, p.wrong, p.remedy = b.servicePort(to, port); p.wrong.bad() {
		return p
	}
	p.name = servicePortName{to.Namespace, to.Name, sp.Name}
	policy := b.tls.of(p.name)
	protocol, ok, remedy := serviceProtocol(sp, policy != nil)
	if !ok {
		p.wrong = verdict{string(gwv1.RouteReasonUnsupportedProtocol), fmt.Sprintf("%s port %d speaks %s, which is not supported", to, port, *sp.AppProtocol)}
		p.remedy = remedy
		return p
	}
	p.pool = &routing.Pool{ID: id, Kind: kindService, Name: to.Namespace + "/" + to.Name, Protocol: protocol, Endpoints: b.serviceEndpoints(s, sp)}
	if policy != nil {
		if p.pool.TLS = policy.tls; policy.tls == nil {
			p.broken = policy.ref.String() + ": " + policy.accept.message
		}
	}
	return p
}

// serviceProtocol maps a port's appProtocol. WebSocket is HTTP/1.1 until it is
// upgraded. Whether to speak TLS is a BackendTLSPolicy's to say, which also tells
// whom to trust: without one, a port that needs TLS is of no use.
func serviceProtocol(p *corev1.ServicePort, tls bool) (_ routing.Protocol, ok bool, remedy string) {
	switch strings.ToLower(value(p.AppProtocol, "")) {
	case "", "http", "kubernetes.io/ws":
		return routing.HTTP1, true, ""
	case "https", "kubernetes.io/wss":
		return routing.HTTP1, tls, "attach a BackendTLSPolicy to the Service, to say whom to trust"
	case "kubernetes.io/h2c", "h2c", "http2", "grpc":
		return routing.H2C, true, ""
	}
	return 0, false, "set appProtocol to http, https, kubernetes.io/h2c, kubernetes.io/ws or kubernetes.io/wss"
}

func hasPort(s *corev1.Service, name string) bool {
	return slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == name })
}

// serviceEndpoints are the ready endpoints of a Service's port: those of its
// EndpointSlices or, on a machine that has none, its pods.
func (b *build) serviceEndpoints(s *corev1.Service, p *corev1.ServicePort) []routing.Endpoint {
	list := b.slices[nameOf(s)]
	if len(list) == 0 && b.opts.LocalServices {
		return b.localEndpoints(s, p)
	}
	family := addressFamily(list)
	var out []routing.Endpoint
	for _, slice := range list {
		if slice.AddressType != family {
			continue
		}
		for _, port := range slice.Ports {
			if value(port.Name, "") == p.Name && port.Port != nil && (port.Protocol == nil || *port.Protocol == corev1.ProtocolTCP) {
				out = append(out, sliceEndpoints(slice, *port.Port)...)
			}
		}
	}
	return sortEndpoints(out)
}

// addressFamily is the family to use of a Service's slices: a pod of a dual-stack
// Service is in a slice of each, and is one endpoint. A slice that holds nothing
// says nothing: one of the other family may.
func addressFamily(list []*discoveryv1.EndpointSlice) discoveryv1.AddressType {
	used := func(s *discoveryv1.EndpointSlice) bool {
		return s.AddressType == discoveryv1.AddressTypeIPv4 && len(s.Endpoints) > 0
	}
	if slices.ContainsFunc(list, used) {
		return discoveryv1.AddressTypeIPv4
	}
	return discoveryv1.AddressTypeIPv6
}

func sliceEndpoints(s *discoveryv1.EndpointSlice, port int32) []routing.Endpoint {
	var out []routing.Endpoint
	for _, e := range s.Endpoints {
		// Unknown readiness is to be read as ready; all addresses of an endpoint
		// are the same one, so the first will do (EndpointSlice).
		if e.Conditions.Ready != nil && !*e.Conditions.Ready || len(e.Addresses) == 0 {
			continue
		}
		r := routing.Endpoint{Address: net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(port)))}
		if t := e.TargetRef; t != nil && t.Kind == kindPod {
			r.Pod = s.Namespace + "/" + t.Name
		}
		out = append(out, r)
	}
	return out
}

// localEndpoints finds a Service's endpoints as an EndpointSlice controller would.
func (b *build) localEndpoints(s *corev1.Service, p *corev1.ServicePort) []routing.Endpoint {
	pods := b.selectPods(s.Namespace, s.Spec.Selector)
	if p.TargetPort.Type != intstr.String {
		port := p.TargetPort.IntVal
		if port == 0 {
			port = p.Port
		}
		return b.podEndpoints(pods, []int32{port})
	}
	var out []routing.Endpoint
	for _, pod := range pods {
		if port := namedPort(pod, p.TargetPort.StrVal); port != 0 {
			out = append(out, b.podEndpoints([]*corev1.Pod{pod}, []int32{port})...)
		}
	}
	return sortEndpoints(out)
}

func namedPort(pod *corev1.Pod, name string) int32 {
	for i := range pod.Spec.Containers {
		for _, p := range pod.Spec.Containers[i].Ports {
			if p.Name == name {
				return p.ContainerPort
			}
		}
	}
	return 0
}
