package file

import (
	"crossfade.dev/api/envoygateway/v1alpha1"
	"crossfade.dev/api/inference/v1alpha2"
	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/translate"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/validation"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// kinds are all kinds that are read. Schemas are compiled when first needed, once
// per process.
var kinds = append(customKinds(), builtinKinds()...)

func customKinds() []*kind {
	type res = translate.Resources
	gateway := []string{"v1", "v1beta1"}
	legacy := []string{v1alpha2.Version}
	policy := []string{v1alpha1.Version}

	return []*kind{
		custom(clusterWide(newKind(gwv1.GroupName, "GatewayClass", gateway, func(r *res) *[]*gwv1.GatewayClass { return &r.GatewayClasses })), "gatewayclasses"),
		custom(newKind(gwv1.GroupName, "Gateway", gateway, func(r *res) *[]*gwv1.Gateway { return &r.Gateways }), "gateways"),
		custom(newKind(gwv1.GroupName, "ListenerSet", []string{"v1"}, func(r *res) *[]*gwv1.ListenerSet { return &r.ListenerSets }), "listenersets"),
		custom(newKind(gwv1.GroupName, "HTTPRoute", gateway, func(r *res) *[]*gwv1.HTTPRoute { return &r.HTTPRoutes }), "httproutes"),
		custom(newKind(gwv1.GroupName, "ReferenceGrant", gateway, func(r *res) *[]*gwv1.ReferenceGrant { return &r.ReferenceGrants }), "referencegrants"),
		custom(newKind(gwv1.GroupName, "BackendTLSPolicy", []string{"v1"}, func(r *res) *[]*gwv1.BackendTLSPolicy { return &r.BackendTLSPolicies }), "backendtlspolicies"),

		custom(newKind(infv1.GroupName, "InferencePool", []string{"v1"}, func(r *res) *[]*infv1.InferencePool { return &r.InferencePools }), "inferencepools"),
		custom(newKind(v1alpha2.GroupXK8s, "InferencePool", legacy, func(r *res) *[]*v1alpha2.InferencePool { return &r.LegacyInferencePools }), "inferencepools"),
		custom(newKind(v1alpha2.GroupXK8s, "InferenceModel", legacy, func(r *res) *[]*v1alpha2.InferenceModel { return &r.InferenceModels }), "inferencemodels"),
		custom(newKind(v1alpha2.GroupXK8s, "InferenceObjective", legacy, func(r *res) *[]*v1alpha2.InferenceObjective { return &r.InferenceObjectives }), "inferenceobjectives"),
		custom(newKind(v1alpha2.GroupLLMD, "InferenceObjective", legacy, func(r *res) *[]*v1alpha2.InferenceObjective { return &r.InferenceObjectives }), "inferenceobjectives"),
		custom(newKind(v1alpha2.GroupXK8s, "InferenceModelRewrite", legacy, func(r *res) *[]*v1alpha2.InferenceModelRewrite { return &r.InferenceModelRewrites }), "inferencemodelrewrites"),
		custom(newKind(v1alpha2.GroupLLMD, "InferenceModelRewrite", legacy, func(r *res) *[]*v1alpha2.InferenceModelRewrite { return &r.InferenceModelRewrites }), "inferencemodelrewrites"),

		foreign(custom(newKind(v1alpha1.Group, "ClientTrafficPolicy", policy, func(r *res) *[]*v1alpha1.ClientTrafficPolicy { return &r.ClientTrafficPolicies }), "clienttrafficpolicies")),
		foreign(custom(newKind(v1alpha1.Group, "BackendTrafficPolicy", policy, func(r *res) *[]*v1alpha1.BackendTrafficPolicy { return &r.BackendTrafficPolicies }), "backendtrafficpolicies")),

		custom(newKind(cfv1a1.Group, "GatewayParameters", []string{cfv1a1.Version}, func(r *res) *[]*cfv1a1.GatewayParameters { return &r.GatewayParameters }), "gatewayparameters"),
		custom(newKind(cfv1a1.Group, "InferenceRollout", []string{cfv1a1.Version}, func(r *res) *[]*cfv1a1.InferenceRollout { return &r.InferenceRollouts }), "inferencerollouts"),
	}
}

func builtinKinds() []*kind {
	type res = translate.Resources
	v1 := []string{"v1"}

	namespace := clusterWide(newKind("", "Namespace", v1, func(r *res) *[]*corev1.Namespace { return &r.Namespaces }))
	namespace.validName, namespace.complete = validation.NameIsDNSLabel, completeNamespace
	service := newKind("", "Service", v1, func(r *res) *[]*corev1.Service { return &r.Services })
	service.validName, service.complete, service.check = validation.NameIsDNS1035Label, completeService, checkService
	secret := newKind("", "Secret", v1, func(r *res) *[]*corev1.Secret { return &r.Secrets })
	secret.complete, secret.check = completeSecret, checkSecret
	configMap := newKind("", "ConfigMap", v1, func(r *res) *[]*corev1.ConfigMap { return &r.ConfigMaps })
	configMap.check = checkConfigMap
	slice := newKind("discovery.k8s.io", "EndpointSlice", v1, func(r *res) *[]*discoveryv1.EndpointSlice { return &r.EndpointSlices })
	slice.complete, slice.check = completeEndpointSlice, checkEndpointSlice
	pod := newKind("", "Pod", v1, func(r *res) *[]*corev1.Pod { return &r.Pods })
	pod.complete, pod.check = completePod, checkPod

	deployment := newKind[appsv1.Deployment]("apps", "Deployment", v1, nil)
	stateful := newKind[appsv1.StatefulSet]("apps", "StatefulSet", v1, nil)
	replicaSet := newKind[appsv1.ReplicaSet]("apps", "ReplicaSet", v1, nil)
	for _, k := range []*kind{deployment, stateful, replicaSet} {
		k.complete, k.check = completeWorkload, checkWorkload
	}
	return []*kind{namespace, service, secret, configMap, slice, pod, deployment, stateful, replicaSet}
}

// custom adds the schemas of the CRD whose plural is given.
func custom(k *kind, plural string) *kind {
	k.schemas = map[string]compiled{}
	for _, v := range k.versions {
		k.schemas[v] = compileOnce(k.group+"_"+plural+".yaml", v)
	}
	return k
}

func clusterWide(k *kind) *kind {
	k.cluster = true
	return k
}

func foreign(k *kind) *kind {
	k.foreign = true
	return k
}
