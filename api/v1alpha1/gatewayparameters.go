package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GatewayParameters says how the data plane of a Gateway is deployed. A Gateway
// names one in spec.infrastructure.parametersRef, a GatewayClass in
// spec.parametersRef; what the Gateway's sets goes before the class's, field by
// field.
type GatewayParameters struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              GatewayParametersSpec `json:"spec,omitempty"`
}

// GatewayParametersSpec is the wanted deployment. Every field is optional.
type GatewayParametersSpec struct {
	// Replicas of the data plane, 1 to 100. Unset starts with 2 and leaves the
	// number to whoever scales the Deployment, such as an autoscaler.
	Replicas *int32 `json:"replicas,omitempty"`
	// Image of the data plane; unset is the controller's own.
	Image *string `json:"image,omitempty"`
	// ImagePullSecrets are Secrets of the Gateway's namespace.
	ImagePullSecrets []corev1.LocalObjectReference `json:"imagePullSecrets,omitempty"`
	// Resources of the data plane's container.
	Resources *corev1.ResourceRequirements `json:"resources,omitempty"`
	// NodeSelector, Tolerations and PriorityClassName of its pods.
	NodeSelector      map[string]string   `json:"nodeSelector,omitempty"`
	Tolerations       []corev1.Toleration `json:"tolerations,omitempty"`
	PriorityClassName *string             `json:"priorityClassName,omitempty"`
	// Args are appended to the arguments of `crossfade gateway`.
	Args []string `json:"args,omitempty"`
	// Drain is how long running requests may finish when a pod stops, at most
	// 24 h; unset is 15 minutes. The pods' termination grace period follows it.
	Drain *metav1.Duration `json:"drain,omitempty"`
	// Service is how the data plane is reached.
	Service *GatewayService `json:"service,omitempty"`
}

// GatewayService shapes the Service in front of a data plane.
type GatewayService struct {
	// Type is LoadBalancer (the default), NodePort or ClusterIP.
	Type *corev1.ServiceType `json:"type,omitempty"`
	// LoadBalancerClass as in a Service.
	LoadBalancerClass *string `json:"loadBalancerClass,omitempty"`
	// ExternalTrafficPolicy as in a Service.
	ExternalTrafficPolicy *corev1.ServiceExternalTrafficPolicy `json:"externalTrafficPolicy,omitempty"`
	// Annotations of the Service besides those of the Gateway's infrastructure.
	Annotations map[string]string `json:"annotations,omitempty"`
}
