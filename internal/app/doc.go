// Package app joins the parts into the roles that the command line starts. It
// owns every goroutine that outlives a call and the order of starting and
// stopping; the parts themselves know nothing of each other.
//
// For `crossfade up` one configuration change flows like this, always on the one
// goroutine of Up.reconcileLoop:
//
//  1. source/file publishes an Update: all objects, defaulted and valid.
//  2. Fleet starts a simulated model server for each pod that runs one and has
//     no address, stops those whose pod is gone, and writes the addresses into
//     copies of the pods.
//  3. translate.Build makes a Snapshot, statuses and problems of it, together
//     with the model names that endpoints reported.
//  4. The snapshot is armed with its predecessor's split positions and
//     published by one atomic store; listeners open and close to match.
//  5. The poller, the scheduler and the admin page learn of the new endpoints.
//
// The statuses of rollouts, which files do not have, are put into copies of their
// objects before step 3 and kept in a state file (rollouts.go). The conductor is told
// of the objects after step 4; what it writes asks for another build.
//
// Model names that the poller reads from endpoints come back as an input of step
// 3, so a snapshot has one maker.
package app
