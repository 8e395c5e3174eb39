package admin

import (
	"context"
	"net/http"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/scheduling"
	"crossfade.dev/internal/translate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// View is one consistent picture of the gateway, replaced whole at each change.
type View struct {
	// Generation counts the snapshots published; Published is when the last was.
	Generation uint64    `json:"generation"`
	Published  time.Time `json:"published"`
	// Read is how many objects the source knows, with or without a status.
	Read int `json:"read"`
	// Listeners are the addresses that take requests.
	Listeners []Listener `json:"listeners"`
	Pools     []Pool     `json:"pools"`
	Objects   []Object   `json:"objects"`
	Problems  []Problem  `json:"problems"`
	// Snapshot is the printed form of what requests are routed by.
	Snapshot string `json:"-"`
}

// Listener is one bound, or unbindable, port.
type Listener struct {
	URL     string   `json:"url"`
	Names   []string `json:"names"` // Gateway namespace/name/listener
	Problem string   `json:"problem,omitempty"`
}

// Pool is one pool and the endpoints it has.
type Pool struct {
	Name      string     `json:"name"`
	Kind      string     `json:"kind"`
	Models    []string   `json:"models"`
	Endpoints []Endpoint `json:"endpoints"`
}

// Endpoint is one endpoint of a pool. Simulated names what a simulated model
// server imitates; it is empty for a real one.
type Endpoint struct {
	Address   string `json:"address"`
	Pod       string `json:"pod,omitempty"`
	Simulated string `json:"simulated,omitempty"`
}

// Object is one object with its conditions.
type Object struct {
	Kind      string   `json:"kind"`
	Group     string   `json:"group,omitempty"`
	Namespace string   `json:"namespace,omitempty"`
	Name      string   `json:"name"`
	Origin    string   `json:"origin,omitempty"`
	Status    []Status `json:"status"`
}

// Status is the conditions of an object as a whole, or, when Of is set, at one
// listener or parent.
type Status struct {
	Of             string             `json:"of,omitempty"`
	AttachedRoutes *int32             `json:"attachedRoutes,omitempty"`
	Conditions     []metav1.Condition `json:"conditions"`
}

// Problem is one finding, with the place its object came from.
type Problem struct {
	Severity translate.Severity `json:"severity"`
	Object   string             `json:"object"`
	Origin   string             `json:"origin,omitempty"`
	Field    string             `json:"field,omitempty"`
	Message  string             `json:"message"`
	Remedy   string             `json:"remedy,omitempty"`
}

// NewProblem makes the view of p, which came from origin.
func NewProblem(p translate.Problem, origin string) Problem {
	v := Problem{Severity: p.Severity, Origin: origin, Field: p.Field, Message: p.Message, Remedy: p.Remedy}
	if p.Ref != (translate.ObjectRef{}) {
		v.Object = p.Ref.String()
	}
	return v
}

// NewObject makes the view of s.
func NewObject(s translate.Status, origin string) Object {
	o := Object{Kind: s.Ref.Kind, Group: s.Ref.Group, Namespace: s.Ref.Namespace, Name: s.Ref.Name, Origin: origin}
	if len(s.Conditions) > 0 {
		o.Status = append(o.Status, Status{Conditions: s.Conditions})
	}
	for _, l := range s.Listeners {
		routes := l.AttachedRoutes
		o.Status = append(o.Status, Status{Of: "listener " + l.Name, AttachedRoutes: &routes, Conditions: l.Conditions})
	}
	for _, p := range s.Parents {
		of := p.Parent.String()
		if p.Section != "" {
			of += "/" + p.Section
		}
		o.Status = append(o.Status, Status{Of: of, Conditions: p.Conditions})
	}
	return o
}

// Sources is where the admin server gets its values; every function is safe for
// concurrent use.
type Sources struct {
	View       func() *View
	Ready      func() error // nil when the gateway takes requests
	Scheduling func() []scheduling.PoolStats
	Explained  func() []scheduling.Explained
	// Gossip takes what other gateways tell at POST /gossip; nil: there are none.
	Gossip http.Handler
	// Counts are what this gateway has counted for rollouts; nil: it serves nothing.
	Counts func() rollout.Counts
	// Bar stops this gateway from sending anything to the candidate of a rollout's
	// running attempt; nil: it serves nothing.
	Bar func(namespace, name string) error
	// Rollouts are all rollouts with their statuses, and Ask hands a verb to one and
	// returns it after the step that took the verb up (taken), or as it is if that
	// does not happen soon; nil where the API server has both. Errors are ErrNotFound,
	// ErrConflict with the reason, and those of writing.
	Rollouts func() []*cfv1a1.InferenceRollout
	Ask      func(ctx context.Context, namespace, name string, r cfv1a1.RolloutRequest) (o *cfv1a1.InferenceRollout, taken bool, err error)
}
