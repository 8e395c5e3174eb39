// Package stats judges two arms that run side by side: a candidate and a stable
// version. It is pure mathematics: tallies in, evidence and verdicts out.
//
// # The test
//
// Every metric is brought into one form: units (sessions, or requests without
// one), of which some had an event (a failure, a finish by length, a first token
// later than a threshold). A window of a few seconds in one stratum is a 2×2
// [Table]. Then:
//
//  1. Given the table's margins, the candidate's number of events follows
//     Fisher's noncentral hypergeometric distribution, whose only parameter is
//     the odds ratio of candidate to stable. The share of the traffic and the
//     base rate are conditioned away, so both may change at any time.
//  2. A [Likelihood] keeps the sum of the log-likelihoods of all windows at the
//     odds ratios of a [Scale].
//  3. The evidence against "the odds ratio is at most m" is the likelihood,
//     averaged over the alternatives above m, divided by that at m. It is an
//     e-process: while the statement holds, the chance that it ever reaches 1/α
//     is at most α, however often one looks (Ville's inequality). Harm is found
//     when it does.
//  4. The mirror image against "the odds ratio is at least M" shows that the
//     candidate is not worse by more than M: a conclusive pass at 1/β.
//
// It is the hypergeometric sibling of the time-inhomogeneous count test of
// Lindon and Malek (NeurIPS 2022, arXiv 2011.03567).
//
// Strata (prompt lengths, say) are compared each within itself and their
// likelihoods added; a part of the belief goes to harm in one stratum alone
// (evidence.go). Latencies are counted as exceedances of thresholds that come
// from stable's own past (histogram.go). Pairs of answers to one prompt, and a
// candidate against a fixed limit, fill the same Likelihood by other formulas
// (likelihood.go).
//
// # What it relies on
//
// Units are assigned at random and counted by the same code in both arms. Where
// requests of a session share a fate, sessions are the units, not requests: a
// session is one unit in each window in which it does something, until the window of
// its first event, and none after it. Then each session has at most one event, and
// which arm the sessions belong to that have one now is, without harm, as good as
// drawn from those still counted, however different sessions are from each other (the
// risk sets of a log-rank test). Counting a session's further events instead would
// tell of one bad session many times: of A/A rollouts with correlated errors it
// aborted one in twenty. Where windows vary together more than that
// (noise of pods), evidence is tempered by an exponent from stable compared with
// itself ([Dispersion]). An exponent of at most 1 keeps the guarantee for
// independent units; it cannot be promised for dependent ones, only measured
// (bench/rolloutsim).
package stats
