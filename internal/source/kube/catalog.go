package kube

import (
	egv1a1 "crossfade.dev/api/envoygateway/v1alpha1"
	infv1a2 "crossfade.dev/api/inference/v1alpha2"
	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/translate"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	infv1 "sigs.k8s.io/gateway-api-inference-extension/api/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// kinds are all kinds that are read. One more kind with a CRD is one more line; a
// kind that is not a base kind is watched where demand says.
var kinds = append(customKinds(), coreKinds()...)

func customKinds() []*kind {
	type res = translate.Resources
	v1 := []string{"v1"}
	gateway := []string{"v1", "v1beta1"}
	legacy := []string{infv1a2.Version}
	policy := []string{egv1a1.Version}

	return []*kind{
		base(judged(newKind(gwv1.GroupName, "GatewayClass", "gatewayclasses", gateway, func(r *res) *[]*gwv1.GatewayClass { return &r.GatewayClasses }))),
		vital(base(judged(newKind(gwv1.GroupName, "Gateway", "gateways", gateway, func(r *res) *[]*gwv1.Gateway { return &r.Gateways })))),
		vital(base(judged(newKind(gwv1.GroupName, "HTTPRoute", "httproutes", gateway, func(r *res) *[]*gwv1.HTTPRoute { return &r.HTTPRoutes })))),
		base(judged(newKind(gwv1.GroupName, "ListenerSet", "listenersets", v1, func(r *res) *[]*gwv1.ListenerSet { return &r.ListenerSets }))),
		base(judged(newKind(gwv1.GroupName, "BackendTLSPolicy", "backendtlspolicies", v1, func(r *res) *[]*gwv1.BackendTLSPolicy { return &r.BackendTLSPolicies }))),
		base(newKind(gwv1.GroupName, "ReferenceGrant", "referencegrants", gateway, func(r *res) *[]*gwv1.ReferenceGrant { return &r.ReferenceGrants })),

		base(judged(newKind(infv1.GroupName, "InferencePool", "inferencepools", v1, func(r *res) *[]*infv1.InferencePool { return &r.InferencePools }))),
		base(judged(newKind(infv1a2.GroupXK8s, "InferencePool", "inferencepools", legacy, func(r *res) *[]*infv1a2.InferencePool { return &r.LegacyInferencePools }))),
		base(judged(newKind(infv1a2.GroupXK8s, "InferenceModel", "inferencemodels", legacy, func(r *res) *[]*infv1a2.InferenceModel { return &r.InferenceModels }))),
		base(judged(newKind(infv1a2.GroupXK8s, "InferenceObjective", "inferenceobjectives", legacy, func(r *res) *[]*infv1a2.InferenceObjective { return &r.InferenceObjectives }))),
		base(judged(newKind(infv1a2.GroupLLMD, "InferenceObjective", "inferenceobjectives", legacy, func(r *res) *[]*infv1a2.InferenceObjective { return &r.InferenceObjectives }))),
		base(judged(newKind(infv1a2.GroupXK8s, "InferenceModelRewrite", "inferencemodelrewrites", legacy, func(r *res) *[]*infv1a2.InferenceModelRewrite { return &r.InferenceModelRewrites }))),
		base(judged(newKind(infv1a2.GroupLLMD, "InferenceModelRewrite", "inferencemodelrewrites", legacy, func(r *res) *[]*infv1a2.InferenceModelRewrite { return &r.InferenceModelRewrites }))),

		base(foreign(judged(newKind(egv1a1.Group, "ClientTrafficPolicy", "clienttrafficpolicies", policy, func(r *res) *[]*egv1a1.ClientTrafficPolicy { return &r.ClientTrafficPolicies })))),
		base(foreign(judged(newKind(egv1a1.Group, "BackendTrafficPolicy", "backendtrafficpolicies", policy, func(r *res) *[]*egv1a1.BackendTrafficPolicy { return &r.BackendTrafficPolicies })))),

		forWriters(base(newKind(cfv1a1.Group, "GatewayParameters", "gatewayparameters", []string{cfv1a1.Version}, func(r *res) *[]*cfv1a1.GatewayParameters { return &r.GatewayParameters }))),
		heeded(base(judged(newKind(cfv1a1.Group, "InferenceRollout", "inferencerollouts", []string{cfv1a1.Version}, func(r *res) *[]*cfv1a1.InferenceRollout { return &r.InferenceRollouts }))), heedRollout),
	}
}

func coreKinds() []*kind {
	type res = translate.Resources
	v1 := []string{"v1"}

	pod := stripped(newKind("", "Pod", "pods", v1, func(r *res) *[]*corev1.Pod { return &r.Pods }), stripPod)
	pod.fields = "status.phase!=Succeeded,status.phase!=Failed"
	return []*kind{
		base(stripped(newKind("", "Namespace", "namespaces", v1, func(r *res) *[]*corev1.Namespace { return &r.Namespaces }), stripNamespace)),
		pod,
		core(newKind("", "Service", "services", v1, func(r *res) *[]*corev1.Service { return &r.Services })),
		stripped(newKind("discovery.k8s.io", "EndpointSlice", "endpointslices", v1, func(r *res) *[]*discoveryv1.EndpointSlice { return &r.EndpointSlices }), stripEndpointSlice),
		stripped(newKind("", "Secret", "secrets", v1, func(r *res) *[]*corev1.Secret { return &r.Secrets }), stripSecret),
		core(newKind("", "ConfigMap", "configmaps", v1, func(r *res) *[]*corev1.ConfigMap { return &r.ConfigMaps })),
		stripped(newKind("apps", "Deployment", "deployments", v1, func(r *res) *[]*appsv1.Deployment { return &r.Deployments }), stripDeployment),
	}
}
