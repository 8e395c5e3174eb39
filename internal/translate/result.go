package translate

import "crossfade.dev/internal/routing"

// Result is all that Build computes: a snapshot that is sealed but not armed, a
// status for every object that has one, problems, and on a cluster the data plane
// of every Gateway that is to have one, each in stable order.
type Result struct {
	Snapshot *routing.Snapshot
	Statuses []Status
	Problems []Problem
	// DataPlanes is empty unless Options.Cluster is set.
	DataPlanes []DataPlane
	// Rollouts that the machine may follow, oldest first.
	Rollouts []Rollout
}
