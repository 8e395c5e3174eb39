// Package v1alpha1 holds the part of Envoy Gateway's policies that Crossfade
// honours: ClientTrafficPolicy's connection.bufferLimit and
// BackendTrafficPolicy's timeout.http.requestTimeout
// (gateway.envoyproxy.io/v1alpha1, Envoy Gateway v1.9). Fields of the users'
// objects that these types lack are found by the source and reported, never
// dropped in silence.
package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const (
	// Group is the API group of Envoy Gateway's policies.
	Group = "gateway.envoyproxy.io"
	// Version is their version.
	Version = "v1alpha1"
)

// TargetRef names the object, in the policy's namespace, that a policy acts on.
type TargetRef struct {
	Group       gwv1.Group        `json:"group"`
	Kind        gwv1.Kind         `json:"kind"`
	Name        gwv1.ObjectName   `json:"name"`
	SectionName *gwv1.SectionName `json:"sectionName,omitempty"`
}

// PolicyTargets is the inlined targetRef or targetRefs of both policies.
type PolicyTargets struct {
	TargetRef  *TargetRef  `json:"targetRef,omitempty"`
	TargetRefs []TargetRef `json:"targetRefs,omitempty"`
}

// All returns the targets of either form.
func (p PolicyTargets) All() []TargetRef {
	if p.TargetRef != nil {
		return append([]TargetRef{*p.TargetRef}, p.TargetRefs...)
	}
	return p.TargetRefs
}

// ClientTrafficPolicy shapes what clients may send to a Gateway.
type ClientTrafficPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              ClientTrafficPolicySpec `json:"spec"`
}

// ClientTrafficPolicySpec is the honoured part of the policy.
type ClientTrafficPolicySpec struct {
	PolicyTargets `json:",inline"`
	Connection    *ClientConnection `json:"connection,omitempty"`
}

// ClientConnection holds connection limits.
type ClientConnection struct {
	// BufferLimit is the largest request body, in bytes, that the gateway
	// buffers before it picks an endpoint; above it the answer is 413.
	BufferLimit *resource.Quantity `json:"bufferLimit,omitempty"`
}

// BackendTrafficPolicy shapes how the gateway talks to backends.
type BackendTrafficPolicy struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              BackendTrafficPolicySpec `json:"spec"`
}

// BackendTrafficPolicySpec is the honoured part of the policy.
type BackendTrafficPolicySpec struct {
	PolicyTargets `json:",inline"`
	Timeout       *Timeout `json:"timeout,omitempty"`
}

// Timeout groups timeouts by protocol.
type Timeout struct {
	HTTP *HTTPTimeout `json:"http,omitempty"`
}

// HTTPTimeout holds HTTP timeouts.
type HTTPTimeout struct {
	// RequestTimeout bounds the time until the whole answer, stream included,
	// is received; "0s" disables it. A timeouts.request of an HTTPRoute rule
	// takes precedence.
	RequestTimeout *gwv1.Duration `json:"requestTimeout,omitempty"`
}
