package v1alpha2

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// InferencePool is the v1alpha2 pool: pods of one namespace, chosen by labels,
// that serve on one port.
type InferencePool struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              InferencePoolSpec `json:"spec,omitempty"`
}

// InferencePoolSpec is what a v1alpha2 pool wants.
type InferencePoolSpec struct {
	// Selector matches a pod when every label is equal; same namespace only.
	Selector map[string]string `json:"selector"`
	// TargetPortNumber is the port of each selected pod, 1 to 65535.
	TargetPortNumber int32 `json:"targetPortNumber"`
	// ExtensionRef names the endpoint picker of the pool.
	ExtensionRef *ExtensionRef `json:"extensionRef,omitempty"`
}

// ExtensionRef names an endpoint picker Service and what to do without it.
type ExtensionRef struct {
	Group      *string `json:"group,omitempty"`
	Kind       *string `json:"kind,omitempty"`
	Name       string  `json:"name"`
	PortNumber *int32  `json:"portNumber,omitempty"`
	// FailureMode is FailOpen or FailClose; unset means FailClose.
	FailureMode *string `json:"failureMode,omitempty"`
}

// Criticality says how willingly an InferenceModel's requests may be shed.
type Criticality string

// The three criticalities. Unset is treated as Standard.
const (
	Critical  Criticality = "Critical"
	Standard  Criticality = "Standard"
	Sheddable Criticality = "Sheddable"
)

// InferenceModel publishes one model name of a pool and the models behind it.
type InferenceModel struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              InferenceModelSpec `json:"spec,omitempty"`
}

// InferenceModelSpec is what an InferenceModel wants.
type InferenceModelSpec struct {
	// ModelName is what clients ask for: at most 256 bytes, immutable, unique
	// in its pool (the oldest object wins).
	ModelName   string       `json:"modelName"`
	Criticality *Criticality `json:"criticality,omitempty"`
	// TargetModels are the models that answer, at most 10, weights on all or on
	// none of them. Empty means ModelName itself.
	TargetModels []TargetModel `json:"targetModels,omitempty"`
	PoolRef      PoolReference `json:"poolRef"`
}

// TargetModel is one model behind a name; its share is Weight over the sum.
type TargetModel struct {
	Name   string `json:"name"`
	Weight *int32 `json:"weight,omitempty"` // 1 to 1,000,000
}

// PoolReference names a pool in the referrer's namespace.
type PoolReference struct {
	Group string `json:"group,omitempty"` // default GroupXK8s
	Kind  string `json:"kind,omitempty"`  // default InferencePool
	Name  string `json:"name"`
}

// InferenceObjective gives requests that name it a priority within a pool.
type InferenceObjective struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              InferenceObjectiveSpec `json:"spec,omitempty"`
}

// InferenceObjectiveSpec is what an InferenceObjective wants.
type InferenceObjectiveSpec struct {
	// Priority orders requests, higher first; unset is 0, below 0 is sheddable.
	Priority *int32        `json:"priority,omitempty"`
	PoolRef  PoolReference `json:"poolRef"`
}

// InferenceModelRewrite maps model names to weighted targets inside a pool and,
// unlike InferenceModel, shows clients the name they asked for.
type InferenceModelRewrite struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Spec              InferenceModelRewriteSpec `json:"spec,omitempty"`
}

// InferenceModelRewriteSpec is what an InferenceModelRewrite wants.
type InferenceModelRewriteSpec struct {
	PoolRef *PoolReference              `json:"poolRef,omitempty"`
	Rules   []InferenceModelRewriteRule `json:"rules"`
}

// InferenceModelRewriteRule sends matching names to weighted targets. No match
// matches every name.
type InferenceModelRewriteRule struct {
	Matches []Match         `json:"matches,omitempty"`
	Targets []RewriteTarget `json:"targets,omitempty"`
}

// Match is one alternative of a rule.
type Match struct {
	Model *ModelMatch `json:"model,omitempty"`
}

// ModelMatch compares the requested model name.
type ModelMatch struct {
	Type  *string `json:"type,omitempty"` // only "Exact"
	Value string  `json:"value"`
}

// RewriteTarget is one model a rule may choose.
type RewriteTarget struct {
	Weight       *int32 `json:"weight,omitempty"` // 1 to 1,000,000
	ModelRewrite string `json:"modelRewrite"`
}
