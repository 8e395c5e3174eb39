package translate

import "crossfade.dev/internal/routing"

// Result is all that Build computes: a snapshot that is sealed but not armed, a
// status for every object that has one, and problems, each in stable order.
type Result struct {
	Snapshot *routing.Snapshot
	Statuses []Status
	Problems []Problem
}
