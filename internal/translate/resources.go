package translate

import (
	"reflect"

	egv1a1 "crossfade.dev/api/envoygateway/v1alpha1"
	infv1a2 "crossfade.dev/api/inference/v1alpha2"
	cfv1a1 "crossfade.dev/api/v1alpha1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// AddressAnnotation on a Pod (or on the template of a Deployment or StatefulSet)
// says where the pod really listens. Its value is a comma-separated list of
// "host:port" (the pod's only, or every, port), or "containerPort=host:port".
// It takes precedence over status.podIP.
const AddressAnnotation = "crossfade.dev/address"

// FaultsAnnotation on a Pod, or on such a template, says how the simulated model
// server in its stead misbehaves: the JSON of sim.Faults. It is no part of what
// the pod runs, and pods that are not simulated do not heed it.
const FaultsAnnotation = "crossfade.dev/sim-faults"

// Resources is one immutable bundle of input objects: all that Build looks at.
// Objects are defaulted and have passed their schema; they are shared and must
// not be changed. Lists are in any order.
type Resources struct {
	GatewayClasses     []*gwv1.GatewayClass
	Gateways           []*gwv1.Gateway
	ListenerSets       []*gwv1.ListenerSet
	HTTPRoutes         []*gwv1.HTTPRoute
	ReferenceGrants    []*gwv1.ReferenceGrant
	BackendTLSPolicies []*gwv1.BackendTLSPolicy

	Namespaces     []*corev1.Namespace // may lack namespaces that objects are in
	Services       []*corev1.Service
	EndpointSlices []*discoveryv1.EndpointSlice
	Secrets        []*corev1.Secret
	ConfigMaps     []*corev1.ConfigMap
	Pods           []*corev1.Pod
	Deployments    []*appsv1.Deployment // of data planes alone

	InferencePools         []*infv1.InferencePool
	LegacyInferencePools   []*infv1a2.InferencePool
	InferenceModels        []*infv1a2.InferenceModel
	InferenceObjectives    []*infv1a2.InferenceObjective
	InferenceModelRewrites []*infv1a2.InferenceModelRewrite

	ClientTrafficPolicies  []*egv1a1.ClientTrafficPolicy
	BackendTrafficPolicies []*egv1a1.BackendTrafficPolicy

	GatewayParameters []*cfv1a1.GatewayParameters
	// InferenceRollouts with their status: the shares in it are an input.
	InferenceRollouts []*cfv1a1.InferenceRollout

	// UnhonouredFields lists, per policy, the fields of its spec that Crossfade
	// knows nothing of, as paths such as "spec.retry".
	UnhonouredFields map[ObjectRef][]string

	// Models are the names each endpoint (host:port) reported on /v1/models. An
	// absent key means that it has not answered yet.
	Models map[string][]string
}

// Len is the number of objects.
func (r *Resources) Len() int {
	n := 0
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		if f := v.Field(i); f.Kind() == reflect.Slice {
			n += f.Len()
		}
	}
	return n
}

// Options are the parts of a Build's input that are not objects.
type Options struct {
	// Controllers are the controllerNames of the GatewayClasses that are ours;
	// empty means every class is.
	Controllers []string
	// Controller is the name written into statuses' controllerName.
	Controller string
	// LocalServices makes a Service's pods, found by its selector among Pods,
	// its endpoints where no EndpointSlice exists, as on a machine without an
	// EndpointSlice controller.
	LocalServices bool
	// Addresses are the addresses every Gateway is reached at, for its status,
	// where all of them share one machine.
	Addresses []string
	// Cluster says that every Gateway has a data plane of its own, described by
	// Result.DataPlanes: Gateways share no ports, and addresses and readiness
	// come from the data plane's Service and Deployment.
	Cluster bool
	// Only, when not empty, is the one Gateway whose listeners, routes and pools
	// the snapshot holds: that of a data plane. Statuses cover all.
	Only types.NamespacedName
}
