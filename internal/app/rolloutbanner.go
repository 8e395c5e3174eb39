package app

import (
	"fmt"
	"io"
	"maps"
	"slices"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"k8s.io/apimachinery/pkg/types"
)

// banner says, with the flags that commands need to reach this process, where rollouts are remembered and where they stand, nothing when there
// are none.
func (r *rollouts) banner(w io.Writer, flags string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.objects) == 0 {
		return
	}
	switch {
	case r.path == "":
		fmt.Fprintf(w, "  state\tnone\trollouts begin anew with the next run\n")
	case !r.opened:
		fmt.Fprintf(w, "  state\t%s\tcannot be used, so rollouts stand still\n", r.path)
		return
	default:
		fmt.Fprintf(w, "  state\t%s\tremembers rollouts\n", r.path)
	}
	for _, name := range slices.SortedFunc(maps.Keys(r.objects), compareNames) {
		stands := "begins now" // and may have begun while this is written
		if status := r.statuses[name]; r.recalled[name] && status.Phase != "" {
			stands = standing(name, &status, flags)
		}
		fmt.Fprintf(w, "  rollout\t%s\t%s\n", name, stands)
	}
}

// standing is where a rollout of an earlier run stands, and for one that is over how
// to begin anew.
func standing(name types.NamespacedName, s *cfv1a1.InferenceRolloutStatus, flags string) string {
	switch phase := rollout.Phase(s.Phase); phase {
	case rollout.Promoted:
		return fmt.Sprintf("Promoted by an earlier run (attempt %d); --state none begins anew", s.Attempt)
	case rollout.Aborted:
		return fmt.Sprintf("Aborted by an earlier run (attempt %d); `crossfade rollout retry %s -n %s%s` tries again, --state none begins anew", s.Attempt, name.Name, name.Namespace, flags)
	}
	return fmt.Sprintf("goes on: %s, attempt %d, step %s", s.Phase, s.Attempt, s.Step)
}
