package translate

import (
	"fmt"

	infv1a2 "crossfade.dev/api/inference/v1alpha2"
)

const kindObjective = "InferenceObjective"

// translateObjectives puts InferenceObjectives of both groups into their pools,
// by name. Of two with one name, that of the newer group wins, as in llm-d, which
// ignores the older group where it has the newer.
func (b *build) translateObjectives() {
	type objective struct {
		pool ObjectRef
		name string
	}
	owner := map[objective]ObjectRef{}
	for _, o := range oldestFirst(b.in.InferenceObjectives) {
		ref := refTo(groupOf(o.TypeMeta), kindObjective, o)
		cs := conditions{generation: o.Generation}
		p := b.poolOf(ref, o.Spec.PoolRef, &cs)
		if p != nil {
			cs.yes(accepted, accepted, "")
			name := objective{p.ref, o.Name}
			other, taken := owner[name]
			if taken {
				b.report(Warning, ref, "metadata.name", fmt.Sprintf("the name exists in groups %s and %s; %s wins", other.Group, ref.Group, infv1a2.GroupLLMD), "delete one of the two")
			}
			if !taken || ref.Group == infv1a2.GroupLLMD {
				owner[name] = ref
				p.routing.Objectives[o.Name] = 0
				if o.Spec.Priority != nil {
					p.routing.Objectives[o.Name] = int(*o.Spec.Priority)
				}
			}
		}
		b.named = append(b.named, named{p, Status{Ref: ref, Generation: o.Generation, Conditions: cs.list}})
	}
}
