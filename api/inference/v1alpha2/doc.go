// Package v1alpha2 holds the inference kinds that upstream no longer ships as
// Go types but that users still apply: InferenceModel and InferencePool of
// inference.networking.x-k8s.io/v1alpha2, and InferenceObjective and
// InferenceModelRewrite, which exist under that group and under llm-d.ai.
//
// It contains types, constants and defaults, nothing that acts. Field names,
// defaults and condition reasons are those of the Gateway API Inference
// Extension v0.3.0 to v1.5.0 and of llm-d-router v0.10.
package v1alpha2

const (
	// GroupXK8s is the API group of the experimental inference kinds.
	GroupXK8s = "inference.networking.x-k8s.io"
	// GroupLLMD is the group InferenceObjective and InferenceModelRewrite moved to.
	GroupLLMD = "llm-d.ai"
	// Version is the version of every kind of this package, in both groups.
	Version = "v1alpha2"
	// DefaultEndpointPickerPort is the Service port of an endpoint picker when
	// extensionRef names none.
	DefaultEndpointPickerPort = 9002
)
