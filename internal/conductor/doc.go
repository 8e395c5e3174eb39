// Package conductor is the shell around the machine of package rollout: it reads
// what gateways count, lets the machine decide, and writes the new status. It is
// the same in one process on a laptop and in the leading controller of a cluster;
// how counts are read, statuses written and people told are interfaces.
//
// # One step
//
//  1. Counts of every gateway are read, within a bound of time. Two readings make
//     one observation; a gateway that is missing, or began anew in between, makes
//     the window not count, for both arms.
//  2. What operators asked, what providers answered and what the plan says now
//     become one event, and rollout.Step decides.
//  3. StatusOf makes the status of the new state, and it is written. Until that has
//     worked nothing else happens: not the next step, not an event.
//  4. People are told.
//
// Everything gateways do (shares, warm-up, mirror, cancel) stands in the written
// status as what is wanted now, not as a command: whoever reads it late, or twice,
// or after a restart, does the same.
//
// Each rollout has a goroutine of its own, which steps at every tick of its plan and
// at once when its object changes: an abort waits for no tick, and neither for
// gateways that do not answer nor for other rollouts.
//
// # What is lost
//
// A step whose write fails has not happened: the state stays, and the next reading
// is compared with the one before. Where another has written meanwhile (ErrStale),
// what is in memory is dropped, and the object's status taken. After a restart there
// is no reading to compare the first one with, so one window does not count, and
// what was counted since the last write is not evidence; events that were not told
// stay untold. docs/decisions/0033 says why.
package conductor
