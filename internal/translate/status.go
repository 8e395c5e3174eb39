package translate

import (
	"cmp"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ObjectRef names one object.
type ObjectRef struct {
	Group, Kind, Namespace, Name string
}

// String prints "Kind namespace/name".
func (r ObjectRef) String() string {
	name := r.Name
	if r.Namespace != "" {
		name = r.Namespace + "/" + r.Name
	}
	return r.Kind + " " + name
}

// CompareRefs orders refs by kind, namespace, name and group.
func CompareRefs(a, b ObjectRef) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name), cmp.Compare(a.Group, b.Group))
}

// Status is what Build found out about one object, in the terms of the object's
// own API. Conditions carry no transition time: the source stamps it.
type Status struct {
	Ref        ObjectRef
	Generation int64
	// Conditions of the object itself (GatewayClass, Gateway, InferenceModel,
	// InferenceObjective, InferenceModelRewrite).
	Conditions []metav1.Condition
	// Listeners of a Gateway or ListenerSet, Addresses of a Gateway.
	Listeners []ListenerStatus
	Addresses []gwv1.GatewayStatusAddress
	// AttachedSets is how many ListenerSets a Gateway serves; nil when none wants it.
	AttachedSets *int32
	// Parents of an HTTPRoute or InferencePool, ancestors of a policy.
	Parents []ParentStatus
}

// ListenerStatus is the status of one listener of a Gateway.
type ListenerStatus struct {
	Name           string
	SupportedKinds []gwv1.RouteGroupKind
	AttachedRoutes int32
	Conditions     []metav1.Condition
}

// ParentStatus is the status of a route, pool or policy at one parent.
type ParentStatus struct {
	Parent     ObjectRef
	Controller string // controllerName of the entry
	Section    string // sectionName as in the parentRef
	Port       int32  // port as in the parentRef, 0 when unset
	Conditions []metav1.Condition
}

// Severity of a Problem.
type Severity string

// Error means that something the user asked for does not work; Warning that it
// works, but probably not as meant.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
)

// Problem is one thing a person should know about an object.
type Problem struct {
	Severity Severity
	Ref      ObjectRef
	Field    string // path such as spec.rules[0].backendRefs[1]; "" for the object
	Message  string // what is wrong
	Remedy   string // what to do about it
	// Origin is where the source found it ("path:line"); Build leaves it empty.
	Origin string
}

// String prints the problem on one line.
func (p Problem) String() string {
	s := fmt.Sprintf("%s: %s", p.Severity, p.Ref)
	if p.Field != "" {
		s += ": " + p.Field
	}
	s += ": " + p.Message
	if p.Remedy != "" {
		s += " (" + p.Remedy + ")"
	}
	return s
}
