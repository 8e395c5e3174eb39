package translate

import (
	"cmp"
	"fmt"

	infv1a2 "crossfade.dev/api/inference/v1alpha2"
	"crossfade.dev/internal/routing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const kindInferenceModel = "InferenceModel"

// modelNameInUse is the reason of InferenceModel's Accepted condition when an
// older object has the name (GIE v0.3.0).
const modelNameInUse = "ModelNameInUse"

// translateModels puts InferenceModels into their pools.
func (b *build) translateModels() {
	for _, o := range oldestFirst(b.in.InferenceModels) {
		ref := refTo(legacyGroup, kindInferenceModel, o)
		cs := conditions{generation: o.Generation}
		p := b.poolOf(ref, o.Spec.PoolRef, &cs)
		if p != nil {
			b.addModel(p, ref, o, &cs)
		}
		b.named = append(b.named, named{p, Status{Ref: ref, Generation: o.Generation, Conditions: cs.list}})
	}
}

// addModel gives the pool the model unless an older InferenceModel has its name.
func (b *build) addModel(p *pool, ref ObjectRef, o *infv1a2.InferenceModel, cs *conditions) {
	name := o.Spec.ModelName
	if owner, taken := p.owners[name]; taken {
		message := fmt.Sprintf("model %s of %s already belongs to %s", name, p.ref, owner.ref)
		cs.no(accepted, modelNameInUse, message)
		b.report(Warning, ref, "spec.modelName", message+", which is older and keeps it", "delete one of the two")
		return
	}
	if name == "" {
		cs.no(accepted, invalid, "the object names no model")
		b.report(Error, ref, "spec.modelName", "the object names no model", "set modelName")
		return
	}
	cs.yes(accepted, accepted, "")
	p.routing.Rules[name] = b.modelRule(p, ref, o)
	p.owners[name] = origin{ref, "spec.targetModels"}
}

func (b *build) modelRule(p *pool, ref ObjectRef, o *infv1a2.InferenceModel) *routing.ModelRule {
	var targets []routing.Target
	for _, t := range o.Spec.TargetModels {
		targets = append(targets, routing.Target{Model: t.Name, Weight: weight(t.Weight, 0)})
	}
	if len(targets) == 0 {
		targets = []routing.Target{{Model: o.Spec.ModelName, Weight: 1}}
	}
	b.shareEqually(ref, "spec.targetModels", targets)
	targets, assignment := b.overlayTargets(p, ref, o.Spec.ModelName, targets)
	rule := routing.NewModelRule(ref.String(), o.Spec.ModelName, targets, false, priority(o.Spec.Criticality))
	rule.Assignment = assignment
	return rule
}

// priority maps a criticality; unset is Standard.
func priority(c *infv1a2.Criticality) int {
	switch {
	case c == nil:
		return 0
	case *c == infv1a2.Critical:
		return 1
	case *c == infv1a2.Sheddable:
		return -1
	}
	return 0
}

// weight returns a weight of Gateway API or of a target, within 0 to 1,000,000.
func weight(w *int32, unset uint32) uint32 {
	if w == nil {
		return unset
	}
	return uint32(min(max(*w, 0), 1_000_000))
}

// shareEqually gives targets equal shares when none has a weight. When only some
// have, the others get nothing, as in the reference implementation, and a word.
func (b *build) shareEqually(ref ObjectRef, field string, targets []routing.Target) {
	weighted := 0
	for _, t := range targets {
		if t.Weight > 0 {
			weighted++
		}
	}
	for i := range targets {
		switch {
		case weighted == 0:
			targets[i].Weight = 1
		case targets[i].Weight == 0:
			b.report(Warning, ref, fmt.Sprintf("%s[%d].weight", field, i),
				fmt.Sprintf("target %s has no weight while others have, so it gets no requests", targets[i].Model), "set weights on all targets or on none")
		}
	}
}

// poolOf finds the pool of a poolRef, or sets Accepted to Unknown. A pool that
// exists only in the other group is taken: the reference implementation went by
// the name alone, and people moved their pools to v1 and left their models.
func (b *build) poolOf(ref ObjectRef, r infv1a2.PoolReference, cs *conditions) *pool {
	want := ObjectRef{Group: cmp.Or(r.Group, legacyGroup), Kind: cmp.Or(r.Kind, kindInferencePool), Namespace: ref.Namespace, Name: r.Name}
	if p := b.pools[want]; p != nil {
		return p
	}
	var message string
	other, known := otherGroup(want)
	switch {
	case !known:
		message = fmt.Sprintf("a pool of kind %s in group %s is not supported", want.Kind, want.Group)
	case b.pools[other] != nil:
		b.report(Warning, ref, "spec.poolRef.group", fmt.Sprintf("%s exists in group %s only; it is taken to be meant", want, other.Group),
			"set spec.poolRef.group to "+other.Group)
		return b.pools[other]
	case r.Name == "":
		message = "the object names no pool"
	default:
		message = fmt.Sprintf("%s does not exist", want)
	}
	cs.set(accepted, metav1.ConditionUnknown, pending, message)
	b.report(Error, ref, "spec.poolRef", message, "add the pool to namespace "+ref.Namespace+" or correct the reference")
	return nil
}

// otherGroup returns the pool of the same name in the other group that has pools,
// and false for what is no InferencePool.
func otherGroup(r ObjectRef) (ObjectRef, bool) {
	groups := map[string]string{legacyGroup: inferenceGroup, inferenceGroup: legacyGroup}
	group, ok := groups[r.Group]
	r.Group = group
	return r, ok && r.Kind == kindInferencePool
}
