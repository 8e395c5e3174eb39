package translate

import cfv1a1 "crossfade.dev/api/v1alpha1"

// SideName is the name of a version in plans and states: that of a rollout in
// namespace whose stable or candidate is s.
func SideName(namespace string, s cfv1a1.RolloutSide) string { return sideName(namespace, s) }
