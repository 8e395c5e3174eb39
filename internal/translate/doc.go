// Package translate is a pure function from Resources to a routing.Snapshot,
// statuses and problems.
//
// Build cannot fail. What is wrong with one object becomes a condition of that
// object and a Problem, and everything else is still built:
//
//  1. index.go makes look-ups over the input: by name, and pods by label.
//  2. gateway.go and listener.go decide which GatewayClasses and Gateways are
//     ours and what each listener may serve: protocol, certificates
//     (certificate.go), allowed routes, and conflicts within a Gateway and
//     between Gateways that share this machine's ports (conflict.go).
//  3. pool.go turns InferencePools of both groups into routing.Pools, with the
//     endpoints of their pods (endpoint.go) and the names that are asked for in
//     them (model.go, rewrite.go, objective.go).
//  4. attach.go finds the listeners each HTTPRoute may attach to, and policy.go
//     and target.go attach the policies of Envoy Gateway to Gateways, listeners,
//     routes and rules.
//  5. rule.go translates the rules of routes: matches (match.go), filters
//     (filter.go, header.go), backends (backend.go, service.go), as far as
//     ReferenceGrants allow (reference.go). route.go puts the result into the
//     listeners and writes the statuses.
//  6. rollout.go lays the shares of InferenceRollouts over the weights of rules and
//     of models, and rolloutplan.go makes the plans their machine follows.
//  7. warnings.go looks over the whole for what works but is hardly meant.
//
// # Which object wins
//
// Objects are taken oldest first by creationTimestamp, then by namespace and
// name, so that whoever was first keeps what is claimed twice. For one model
// name in one pool, an InferenceModelRewrite that matches the name exactly goes
// before an InferenceModel, and that before a Rewrite without matches. An
// InferenceModel's criticality counts even when a Rewrite chooses the targets.
//
// # What is refused
//
// A filter, timeout or match that cannot be honoured is never skipped: requests
// of its rule get 500, under those of the rule's matches that are understood;
// a filter of one backend costs only that backend's share. This is told in the
// route's Accepted or PartiallyInvalid condition. A backend that does not resolve
// keeps its share of the requests, which get 500. What a rule can be served
// without (retry, sessionPersistence) is a warning.
package translate
