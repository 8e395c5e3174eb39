package conductor

import "slices"

// OwnsCondition reports whether conditions of a type are the conductor's: a Store
// keeps all others as they are.
func OwnsCondition(kind string) bool { return slices.Contains(ours, kind) }
