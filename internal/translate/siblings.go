package translate

import (
	"net/netip"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// DataPlaneService names the Service in front of a Gateway's data plane; its
// EndpointSlices list the pods.
func DataPlaneService(o *gwv1.Gateway) types.NamespacedName {
	return types.NamespacedName{Namespace: o.Namespace, Name: dataPlaneName(o)}
}

// Siblings returns the addresses of the other pods of the data plane of o, sorted,
// as one of which it is asked: by the pod that has the addresses own. Pods that are
// not ready count: they may have requests to finish. Whoever is no pod of the data
// plane, such as a gateway run by hand, has no siblings. Where pods have addresses
// of both families those of IPv4 are returned, so that all of them agree.
func Siblings(r *Resources, o *gwv1.Gateway, own []netip.Addr) []netip.Addr {
	service := DataPlaneService(o)
	pods := map[discoveryv1.AddressType][]netip.Addr{}
	for _, s := range r.EndpointSlices {
		if s.Namespace != service.Namespace || s.Labels[discoveryv1.LabelServiceName] != service.Name {
			continue
		}
		for i := range s.Endpoints {
			for _, text := range s.Endpoints[i].Addresses {
				if a, err := netip.ParseAddr(text); err == nil {
					pods[s.AddressType] = append(pods[s.AddressType], a)
				}
			}
		}
	}
	for _, family := range []discoveryv1.AddressType{discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6} {
		isOwn := func(a netip.Addr) bool { return slices.Contains(own, a) }
		all := pods[family]
		if !slices.ContainsFunc(all, isOwn) {
			continue
		}
		all = slices.DeleteFunc(all, isOwn)
		slices.SortFunc(all, netip.Addr.Compare)
		return slices.Compact(all)
	}
	return nil
}
