package translate

import (
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// whereabouts is where a Gateway is reached, and why it is not yet.
type whereabouts struct {
	addresses []string
	pending   verdict
}

// whereabouts looks at the data plane of g. Where Gateways share one machine they
// share its addresses.
func (b *build) whereabouts(g *gateway) whereabouts {
	if !b.opts.Cluster || b.opts.Only.Name != "" {
		return whereabouts{addresses: b.opts.Addresses}
	}
	name := types.NamespacedName{Namespace: g.ref.Namespace, Name: dataPlaneName(g.object)}
	w := whereabouts{addresses: serviceAddresses(b.service[name])}
	switch d := b.deployments[name]; {
	case !available(d):
		w.pending = verdict{pending, "no pod of the data plane is ready yet"}
	case len(w.addresses) == 0:
		w.pending = verdict{string(gwv1.GatewayReasonAddressNotAssigned), "the Service of the data plane has no address yet"}
	}
	for _, a := range g.object.Spec.Addresses {
		if a.Value != "" && !slices.Contains(w.addresses, a.Value) {
			w.pending = verdict{string(gwv1.GatewayReasonAddressNotUsable), fmt.Sprintf("address %s is not assigned to the Service of the data plane", a.Value)}
		}
	}
	return w
}

func available(d *appsv1.Deployment) bool { return d != nil && d.Status.AvailableReplicas > 0 }

// serviceAddresses are the addresses a Service is reached at: those its load
// balancer reports, or its own inside the cluster when it has no load balancer.
func serviceAddresses(s *corev1.Service) []string {
	if s == nil {
		return nil
	}
	var out []string
	for _, i := range s.Status.LoadBalancer.Ingress {
		for _, a := range []string{i.IP, i.Hostname} {
			if a != "" && !slices.Contains(out, a) {
				out = append(out, a)
			}
		}
	}
	if s.Spec.Type != corev1.ServiceTypeLoadBalancer {
		for _, ip := range s.Spec.ClusterIPs {
			if ip != corev1.ClusterIPNone {
				out = append(out, ip)
			}
		}
	}
	// A Gateway's status lists at most 16 addresses (Gateway API).
	return out[:min(len(out), 16)]
}
