package translate

import (
	cfv1a1 "crossfade.dev/api/v1alpha1"
	"k8s.io/apimachinery/pkg/types"
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
