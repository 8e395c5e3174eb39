package translate

import (
	"fmt"

	infv1a2 "crossfade.dev/api/inference/v1alpha2"
	"crossfade.dev/internal/routing"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const kindRewrite = "InferenceModelRewrite"

// rewriteRule is one rule of an InferenceModelRewrite.
type rewriteRule struct {
	rewrite ObjectRef
	field   string // spec.rules[i]
	*infv1a2.InferenceModelRewriteRule
}

// translateRewrites puts InferenceModelRewrites of both groups into their pools,
// after the InferenceModels: a rule that matches a name exactly replaces that of
// an InferenceModel, one without matches fills what is left. Within a kind of
// match the oldest object wins, then its first rule.
func (b *build) translateRewrites() {
	for _, o := range oldestFirst(b.in.InferenceModelRewrites) {
		ref := refTo(groupOf(o.TypeMeta), kindRewrite, o)
		cs := conditions{generation: o.Generation}
		p := b.poolOf(ref, rewritePool(o), &cs)
		if p != nil {
			cs.yes(accepted, accepted, "")
			for i := range o.Spec.Rules {
				b.addRewrite(p, rewriteRule{ref, fmt.Sprintf("spec.rules[%d]", i), &o.Spec.Rules[i]})
			}
		}
		b.named = append(b.named, named{p, Status{Ref: ref, Generation: o.Generation, Conditions: cs.list}})
	}
}

func rewritePool(o *infv1a2.InferenceModelRewrite) infv1a2.PoolReference {
	if o.Spec.PoolRef == nil {
		return infv1a2.PoolReference{}
	}
	return *o.Spec.PoolRef
}

// groupOf returns the group of an object that exists in several.
func groupOf(m metav1.TypeMeta) string {
	if g := m.GroupVersionKind().Group; g != "" {
		return g
	}
	return legacyGroup
}

func (b *build) addRewrite(p *pool, r rewriteRule) {
	if len(r.Targets) == 0 {
		b.report(Error, r.rewrite, r.field+".targets", "a rule without targets leads nowhere; it is ignored", "add a target or remove the rule")
		return
	}
	targets := make([]routing.Target, len(r.Targets))
	for i, t := range r.Targets {
		targets[i] = routing.Target{Model: t.ModelRewrite, Weight: weight(t.Weight, 0)}
	}
	b.shareEqually(r.rewrite, r.field+".targets", targets)
	if len(r.Matches) == 0 {
		b.addGeneric(p, r, targets)
		return
	}
	for i, m := range r.Matches {
		field := fmt.Sprintf("%s.matches[%d]", r.field, i)
		if m.Model == nil || m.Model.Type != nil && *m.Model.Type != "Exact" || m.Model.Value == "" {
			b.report(Error, r.rewrite, field, "only an exact match of the model's name is supported; it is ignored", "set model.type Exact and model.value")
			continue
		}
		b.addExact(p, r, field, m.Model.Value, targets)
	}
}

func (b *build) addGeneric(p *pool, r rewriteRule, targets []routing.Target) {
	if g := p.routing.Generic; g != nil {
		b.report(Warning, r.rewrite, r.field, fmt.Sprintf("never used: %s already rewrites every other name of %s", g.Ref, p.ref), "add matches, or remove one of the rules")
		return
	}
	targets, assignment := b.overlayTargets(p, r.rewrite, genericName, targets)
	p.routing.Generic = routing.NewModelRule(r.rewrite.String(), "*", targets, true, 0)
	p.routing.Generic.Assignment = assignment
	p.owners[genericName] = origin{r.rewrite, r.field + ".targets"}
}

func (b *build) addExact(p *pool, r rewriteRule, field, name string, targets []routing.Target) {
	before, taken := p.owners[name]
	if taken && before.ref.Kind == kindRewrite {
		b.report(Warning, r.rewrite, field, fmt.Sprintf("never used: %s already rewrites model %s of %s", before.ref, name, p.ref), "remove one of the matches")
		return
	}
	prio := 0
	if taken {
		prio = p.routing.Rules[name].Priority
		b.report(Warning, r.rewrite, field, fmt.Sprintf("goes before %s, whose targets are not used", before.ref), "remove the InferenceModel, or give it another name")
	}
	targets, assignment := b.overlayTargets(p, r.rewrite, name, targets)
	p.routing.Rules[name] = routing.NewModelRule(r.rewrite.String(), name, targets, true, prio)
	p.routing.Rules[name].Assignment = assignment
	p.owners[name] = origin{r.rewrite, r.field + ".targets"}
}
