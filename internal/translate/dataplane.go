package translate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"github.com/cespare/xxhash/v2"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// DataPlane is the deployment one Gateway wants on a cluster, as plain values.
// The source makes objects of it: a Deployment, a Service, a ServiceAccount, a
// PodDisruptionBudget and the rights to read what the Gateway needs.
type DataPlane struct {
	// Gateway owns the objects and UID is its own, for their ownerReferences.
	Gateway ObjectRef
	UID     types.UID
	// Class is the name of the Gateway's GatewayClass.
	Class string
	// Name of the objects, in the Gateway's namespace (GEP-1762: Gateway and
	// class joined by a dash), at most 63 bytes.
	Name string
	// Keep says that the Gateway is refused for now, or its class is missing: what
	// exists stays as it is, and the fields below are empty.
	Keep bool
	// Labels and Annotations are put on every object and on the pods
	// (spec.infrastructure).
	Labels, Annotations map[string]string
	// Ports the Service opens, ascending; empty when no listener can be served.
	Ports []DataPlanePort
	// Addresses the Gateway asks for: IP addresses, in its order.
	Addresses []string
	// Parameters of the Gateway and its class, merged.
	Parameters cfv1a1.GatewayParametersSpec
	// Secrets the Gateway refers to and may read, by namespace and name, sorted.
	Secrets []types.NamespacedName
}

// DataPlanePort is one port of the Service in front of a data plane.
type DataPlanePort struct {
	Number int32
	// AppProtocol is http or https.
	AppProtocol string
}

// DataPlaneAdminPort is the port of metrics and health in every data plane's
// pods; no listener may have it.
const DataPlaneAdminPort = 19000

// dataPlanes returns the data planes of our Gateways. One whose Gateway is refused
// or has lost its class is kept as it is: a mistake in an object takes nothing
// down.
func (b *build) dataPlanes() []DataPlane {
	if !b.opts.Cluster || b.opts.Only.Name != "" {
		return nil
	}
	var out []DataPlane
	for _, g := range b.gateways {
		d := DataPlane{Gateway: g.ref, UID: g.object.UID, Class: string(g.object.Spec.GatewayClassName), Name: dataPlaneName(g.object), Keep: g.refused != ""}
		if !d.Keep {
			b.describe(&d, g)
		}
		out = append(out, d)
	}
	for _, o := range b.classless {
		out = append(out, DataPlane{Gateway: refTo(gatewayGroup, kindGateway, o), UID: o.UID, Class: string(o.Spec.GatewayClassName), Name: dataPlaneName(o), Keep: true})
	}
	slices.SortFunc(out, func(x, y DataPlane) int { return CompareRefs(x.Gateway, y.Gateway) })
	return out
}

func (b *build) describe(d *DataPlane, g *gateway) {
	d.Labels, d.Annotations = map[string]string{}, map[string]string{}
	if infra := g.object.Spec.Infrastructure; infra != nil {
		for k, v := range infra.Labels {
			d.Labels[string(k)] = string(v)
		}
		for k, v := range infra.Annotations {
			d.Annotations[string(k)] = string(v)
		}
	}
	for _, l := range g.allListeners() {
		if l.refused() {
			continue
		}
		p := DataPlanePort{Number: int32(l.port), AppProtocol: "http"}
		if l.tls {
			p.AppProtocol = "https"
		}
		d.Ports = append(d.Ports, p)
	}
	slices.SortFunc(d.Ports, func(x, y DataPlanePort) int { return cmp.Compare(x.Number, y.Number) })
	d.Ports = slices.Compact(d.Ports)
	for _, a := range g.object.Spec.Addresses {
		if a.Value != "" {
			d.Addresses = append(d.Addresses, a.Value)
		}
	}
	d.Parameters = g.parameters
	d.Secrets = b.secretsOf(g)
}

// secretsOf lists the Secrets that listeners of g refer to and may: existing or
// not, so that one created later can be read at once.
func (b *build) secretsOf(g *gateway) []types.NamespacedName {
	var out []types.NamespacedName
	for _, l := range g.object.Spec.Listeners {
		if l.TLS == nil {
			continue
		}
		for i := range l.TLS.CertificateRefs {
			if to := certificateRef(g.ref, &l.TLS.CertificateRefs[i]); to.Group == "" && to.Kind == kindSecret && b.grants.permit(g.ref, to) {
				out = append(out, types.NamespacedName{Namespace: to.Namespace, Name: to.Name})
			}
		}
	}
	slices.SortFunc(out, compareNames)
	return slices.Compact(out)
}

// maxObjectName is the longest name of a Service (RFC 1035), which is also the
// longest value of a label.
const maxObjectName = 63

// dataPlaneName joins the names of Gateway and class (GEP-1762). A name that a
// Service could not have is shortened, and told apart by a hash.
func dataPlaneName(o *gwv1.Gateway) string {
	name := o.Name + "-" + string(o.Spec.GatewayClassName)
	plain := strings.ReplaceAll(name, ".", "-")
	if isDigit(plain[0]) {
		plain = "gw-" + plain
	}
	if plain == name && len(name) <= maxObjectName {
		return name
	}
	// 32 bits are enough among the Gateways of one namespace whose names begin alike.
	sum := fmt.Sprintf("-%08x", uint32(xxhash.Sum64String(name)))
	return strings.TrimRight(plain[:min(len(plain), maxObjectName-len(sum))], "-") + sum
}
