package translate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	infv1a2 "crossfade.dev/api/inference/v1alpha2"
	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/routing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const kindRollout = "InferenceRollout"

// Reasons of an InferenceRollout's Accepted condition.
const (
	targetNotFound  = "TargetNotFound"
	targetAmbiguous = "TargetAmbiguous"
	targetConflict  = "TargetConflict"
	invalidPlan     = "InvalidPlan"
)

// Rollout is an InferenceRollout that can be followed: its plan for the machine.
type Rollout struct {
	Ref        ObjectRef
	Generation int64
	Plan       rollout.Plan
	// Object as it was read. It must not be changed.
	Object *cfv1a1.InferenceRollout
	// Gateways whose data planes serve its target, sorted.
	Gateways []ObjectRef
	// Providers are to be asked for the values of its guardrails from outside, in
	// the plan's order.
	Providers []Provider
}

// splitPlace is what a rollout is laid over: a rule of a route, or a model name of an
// InferenceModel or InferenceModelRewrite.
type splitPlace struct {
	ref  ObjectRef
	rule int    // of a route
	name string // of a model
}

// rolloutOverlay is a rollout and the split it lays over the weights of its place.
type rolloutOverlay struct {
	ref       ObjectRef
	object    *cfv1a1.InferenceRollout
	plan      rollout.Plan
	providers []Provider
	verdict   verdict
	place     splitPlace
	stable    cfv1a1.RolloutSide
	candidate cfv1a1.RolloutSide
	share     uint32
	// aborted: somebody asked to abort what the status has under way.
	aborted bool
	applied bool
	// pools that a model target is in.
	pools []*pool
}

// findRollouts finds the place of each rollout. Of two in one place the older has
// it; one whose place or plan is wrong changes no traffic.
func (b *build) findRollouts() {
	taken := map[splitPlace]ObjectRef{}
	for _, o := range oldestFirst(b.in.InferenceRollouts) {
		x := &rolloutOverlay{ref: refTo(cfv1a1.Group, kindRollout, o), object: o}
		b.rollouts = append(b.rollouts, x)
		var errs []error
		x.plan, x.providers, errs = planOf(o)
		x.stable, x.candidate = o.Spec.Stable, o.Spec.Candidate
		for i, err := range errs {
			field, message, _ := strings.Cut(err.Error(), ": ")
			message, remedy := cutRemedy(message)
			b.report(Error, x.ref, field, message, remedy)
			if i == 0 {
				x.verdict = verdict{invalidPlan, field + ": " + message}
			}
		}
		// A plan that is wrong starts nothing, but what is under way stays served.
		if x.verdict.bad() && o.Status.Shares == nil {
			continue
		}
		b.findPlace(x)
		if owner, ok := taken[x.place]; ok && x.place != (splitPlace{}) {
			x.verdict = verdict{targetConflict, fmt.Sprintf("%s, which is older, is about the same traffic", owner)}
			b.report(Error, x.ref, "spec.target", x.verdict.message, "delete one of the two")
			x.place = splitPlace{}
			continue
		}
		taken[x.place] = x.ref
	}
}

// cutRemedy takes the remedy off a message of rollout.Plan.Check.
func cutRemedy(message string) (what, remedy string) {
	if i := strings.LastIndex(message, "; "); i >= 0 {
		return message[:i], message[i+2:]
	}
	return message, ""
}

// findPlace fills in the place and the split in force there. The status names the
// versions it is about; where they are gone from the place, the spec's are taken,
// with nothing for the candidate.
func (b *build) findPlace(x *rolloutOverlay) {
	t := x.object.Spec.Target
	if s := x.object.Status.Shares; s != nil {
		x.stable, x.candidate, x.share = s.Stable, s.Candidate, uint32(min(max(s.Set, 0), routing.Buckets))
		if x.aborted = abortAsked(x.object); x.aborted {
			x.share = 0
		}
		if b.findTarget(x, t) {
			return
		}
		x.stable, x.candidate, x.share = x.object.Spec.Stable, x.object.Spec.Candidate, 0
	}
	if b.findTarget(x, t) || x.verdict.bad() {
		return
	}
	x.verdict = verdict{targetNotFound, "the target names nothing"}
	b.report(Error, x.ref, "spec.target", x.verdict.message, "set one of httpRoute, modelRewrite and inferenceModel")
}

// abortAsked says that somebody asks to abort the attempt that the status's share
// belongs to. An abort waits for nobody, not even for the machine.
func abortAsked(o *cfv1a1.InferenceRollout) bool {
	requests := []*cfv1a1.RolloutRequest{o.Status.Request}
	if text := o.Annotations[cfv1a1.RequestAnnotation]; text != "" {
		r := &cfv1a1.RolloutRequest{}
		if json.Unmarshal([]byte(text), r) == nil {
			requests = append(requests, r)
		}
	}
	return slices.ContainsFunc(requests, func(r *cfv1a1.RolloutRequest) bool {
		return r != nil && r.Verb == string(rollout.VerbAbort) && r.Attempt == o.Status.Shares.Attempt
	})
}

// findTarget looks the pair up in the target; it reports a target that lacks it only
// for the spec's own versions.
func (b *build) findTarget(x *rolloutOverlay, t cfv1a1.RolloutTarget) bool {
	switch {
	case t.HTTPRoute != nil:
		return b.findRule(x, t.HTTPRoute)
	case t.InferenceModel != nil:
		return b.findModel(x, t.InferenceModel)
	case t.ModelRewrite != nil:
		return b.findRewrite(x, t.ModelRewrite)
	}
	return false
}

func (x *rolloutOverlay) ofSpec() bool {
	return x.stable == x.object.Spec.Stable && x.candidate == x.object.Spec.Candidate
}

// missing notes that the spec's versions are not where the target says.
func (b *build) missing(x *rolloutOverlay, reason, field, message, remedy string) bool {
	if x.ofSpec() && !x.verdict.bad() {
		x.verdict = verdict{reason, message}
		b.report(Error, x.ref, field, message, remedy)
	}
	return false
}

func (b *build) findRule(x *rolloutOverlay, t *cfv1a1.RolloutRouteTarget) bool {
	var route *gwv1.HTTPRoute
	for _, o := range b.in.HTTPRoutes {
		if o != nil && o.Namespace == x.ref.Namespace && o.Name == t.Name {
			route = o
		}
	}
	if route == nil {
		return b.missing(x, targetNotFound, "spec.target.httpRoute.name", fmt.Sprintf("HTTPRoute %s/%s does not exist", x.ref.Namespace, t.Name), "correct the name")
	}
	var found []int
	for i := range route.Spec.Rules {
		r := &route.Spec.Rules[i]
		if t.RuleName != "" && value(r.Name, "") != t.RuleName {
			continue
		}
		if s, c := x.backends(route, r); s >= 0 && c >= 0 && s != c {
			found = append(found, i)
		}
	}
	switch {
	case len(found) == 0:
		return b.missing(x, targetNotFound, "spec.target.httpRoute", fmt.Sprintf("no rule of HTTPRoute %s/%s has both %s and %s as backends", x.ref.Namespace, t.Name, x.stable.Name, x.candidate.Name),
			"add both to backendRefs of one rule (the candidate with weight 0), or correct ruleName")
	case len(found) > 1:
		return b.missing(x, targetAmbiguous, "spec.target.httpRoute.ruleName", fmt.Sprintf("%d rules of HTTPRoute %s/%s have both versions as backends", len(found), x.ref.Namespace, t.Name), "name one of the rules and set ruleName")
	}
	x.place = splitPlace{ref: refTo(gatewayGroup, kindHTTPRoute, route), rule: found[0]}
	return true
}

// backends returns which backendRefs of a rule are the two versions, -1 for none.
func (x *rolloutOverlay) backends(route *gwv1.HTTPRoute, r *gwv1.HTTPRouteRule) (stable, candidate int) {
	stable, candidate = -1, -1
	for i := range r.BackendRefs {
		ref := &r.BackendRefs[i]
		is := func(side cfv1a1.RolloutSide) bool {
			return side.Name != "" && string(ref.Name) == side.Name && value(ref.Kind, kindService) == defaulted(side.Kind, kindInferencePool) &&
				value(ref.Group, "") == defaulted(side.Group, inferenceGroup) && value(ref.Namespace, route.Namespace) == route.Namespace
		}
		if stable < 0 && is(x.stable) {
			stable = i
		}
		if candidate < 0 && is(x.candidate) {
			candidate = i
		}
	}
	return stable, candidate
}

func defaulted(s, unset string) string {
	if s == "" {
		return unset
	}
	return s
}

func (b *build) findModel(x *rolloutOverlay, t *cfv1a1.RolloutModelTarget) bool {
	for _, o := range b.in.InferenceModels {
		if o == nil || o.Namespace != x.ref.Namespace || o.Name != t.Name {
			continue
		}
		names := []string{}
		for _, target := range o.Spec.TargetModels {
			names = append(names, target.Name)
		}
		if len(names) == 0 {
			names = []string{o.Spec.ModelName}
		}
		return b.findTargets(x, splitPlace{ref: refTo(legacyGroup, kindInferenceModel, o), name: o.Spec.ModelName}, names)
	}
	return b.missing(x, targetNotFound, "spec.target.inferenceModel.name", fmt.Sprintf("InferenceModel %s/%s does not exist", x.ref.Namespace, t.Name), "correct the name")
}

func (b *build) findRewrite(x *rolloutOverlay, t *cfv1a1.RolloutRewriteTarget) bool {
	for _, o := range oldestFirst(b.in.InferenceModelRewrites) {
		if o.Namespace != x.ref.Namespace || o.Name != t.Name {
			continue
		}
		for i := range o.Spec.Rules {
			r := &o.Spec.Rules[i]
			if !matches(r, t.Match) {
				continue
			}
			names := []string{}
			for _, target := range r.Targets {
				names = append(names, target.ModelRewrite)
			}
			return b.findTargets(x, splitPlace{ref: refTo(groupOf(o.TypeMeta), kindRewrite, o), name: t.Match}, names)
		}
	}
	return b.missing(x, targetNotFound, "spec.target.modelRewrite", fmt.Sprintf("no InferenceModelRewrite %s/%s has a rule for model %q", x.ref.Namespace, t.Name, t.Match), "correct name or match")
}

func matches(r *infv1a2.InferenceModelRewriteRule, name string) bool {
	for _, m := range r.Matches {
		if m.Model != nil && m.Model.Value == name {
			return true
		}
	}
	return len(r.Matches) == 0 && name == genericName
}

// findTargets takes a place whose targets have these names. The candidate need not be
// among them: such objects cannot say a weight of 0.
func (b *build) findTargets(x *rolloutOverlay, at splitPlace, names []string) bool {
	for _, name := range names {
		if name == x.stable.Model && name != "" && x.candidate.Model != "" && x.candidate.Model != name {
			x.place = at
			return true
		}
	}
	return b.missing(x, targetNotFound, "spec.stable.model", fmt.Sprintf("%s has no target %q beside which a candidate could stand", at.ref, x.stable.Model),
		"set stable.model to one of its targets ("+some(names)+") and candidate.model to the new one")
}

// finishRollouts writes the statuses.
func (b *build) finishRollouts() {
	for _, x := range b.rollouts {
		cs := conditions{generation: x.object.Generation}
		switch {
		case x.verdict.bad():
			cs.no(accepted, x.verdict.reason, x.verdict.message)
		case !x.applied:
			message := fmt.Sprintf("%s is not served by a Gateway of ours, so there is no traffic to split", x.place.ref)
			cs.set(accepted, metav1.ConditionUnknown, pending, message)
			b.report(Warning, x.ref, "spec.target", message, "see the conditions of the target")
		default:
			cs.yes(accepted, accepted, "")
		}
		b.statuses = append(b.statuses, Status{Ref: x.ref, Generation: x.object.Generation, Conditions: cs.list})
	}
}

// followable returns the rollouts the machine may follow, oldest first.
func (b *build) followable() []Rollout {
	var out []Rollout
	for _, x := range b.rollouts {
		if !x.verdict.bad() && x.applied {
			out = append(out, Rollout{Ref: x.ref, Generation: x.object.Generation, Plan: x.plan, Object: x.object, Gateways: b.gatewaysOf(x), Providers: x.providers})
		}
	}
	return out
}

// gatewaysOf returns the Gateways of ours by which requests reach a rollout's place.
func (b *build) gatewaysOf(x *rolloutOverlay) []ObjectRef {
	found := map[ObjectRef]bool{}
	for _, rt := range b.routes {
		if rt.ref != x.place.ref {
			continue
		}
		for _, p := range rt.parents {
			for _, at := range p.places {
				if at.listener.programmed {
					found[p.gateway.ref] = true
				}
			}
		}
	}
	for _, p := range x.pools {
		for gateway, byAccepted := range p.parents {
			if byAccepted {
				found[gateway] = true
			}
		}
	}
	return slices.SortedFunc(maps.Keys(found), CompareRefs)
}
