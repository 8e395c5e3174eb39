// Package tally counts what becomes of the requests of rollouts at one gateway, and
// stops sending to a candidate that is out before anybody could tell it to.
//
// # What is counted
//
// Each attempt of a rollout has a book with three arms: the candidate, and the two
// halves of stable, which show how much alike things differ by chance. A finished
// request gives facts (facts.go): events that may have happened to it, such as an
// error, and measures, such as its time to the first token. The facts become units
// (window.go):
//
//   - Where requests are assigned by a key, units are sessions. A session is one unit
//     of an event in each window in which it does something, until the window of its
//     first such event and not after it; of a measure it is one unit per window and
//     stratum, with the worst of what it saw. Where there is no key each request is a
//     unit.
//   - Windows have a fixed length. What a window counted shows when it has closed, so
//     that a unit and its event are told together. They are closed by the time, with or
//     without traffic, so a window that a reader sees half of does not exist.
//   - Requests that were pinned to a side are no fair sample and count nowhere, but as
//     in flight. Nor does what an attempt sees that is not watched.
//   - A request that failed on the candidate and was rescued by stable is an error of
//     the candidate; its answer says nothing of either.
//   - A model call that waits far longer for its first byte than stable's do is counted
//     while it waits (waiting.go), since it may never end.
//
// Strata are made of what is known before a version has answered, with one exception:
// the part of a prompt that was in no cache, which the answer tells. It is told apart
// only once both arms report cached tokens. A candidate that never does, because
// its cache does not work or its answers do not tell, must not get strata of its own,
// in which there would be nothing to compare it with.
//
// # What is kept
//
// What is known of an attempt outlives its absence from the snapshots for a minute.
//
// Keys of sessions are hashed with a seed of the process, and neither kept nor shown.
// A window knows a bounded number of sessions and leaves out those that come later;
// the memory of sessions that had an event is bounded too and forgets the oldest,
// which then count as new. Both look at the order of arrival alone and never at the
// arm, so they do it to both arms alike. Each gateway counts the sessions it sees:
// one that visits three gateways is a unit of each.
package tally
