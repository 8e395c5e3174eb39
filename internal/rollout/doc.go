// Package rollout is the machine that shifts traffic from a stable version to a
// candidate: a pure function from plan, state and event to state and actions.
//
// # One call
//
// [Step] takes one event (a window of counts, an operator's verb, a tripped
// breaker, a provider's value, or the time alone) and
//
//  1. looks at the plan: a new attempt, another candidate, changed steps
//     (attempt.go);
//  2. takes over what gateways counted: whether the share is in force, and the
//     evidence of each guardrail (observe.go, book.go);
//  3. judges each guardrail (judge.go, with package stats);
//  4. follows the operator (verbs.go);
//  5. aborts or pauses where a guardrail fails, in every running phase;
//  6. goes on with the plan as far as it can (move.go, analyze.go).
//
// The caller writes the state, then carries out the actions. The share is part of
// the state; gateways read it there. All that is needed to go on is in the state:
// another process may take the next event. An event that comes twice changes
// nothing the second time: windows are told apart by their end, verbs by their ID,
// leaders by their epoch.
//
// # The way between phases
//
//	                      ┌──────────── new candidate, or attempt + 1 ───────────┐
//	Idle ── plan ──▶ Warming ─▶ Shadowing ─▶ Progressing ⇄ Analyzing ─▶ Promoting ─▶ Soaking ─▶ Promoted
//	                    │           │             │            │            │           │          │
//	                    ├───────────┴─────────────┴──── pause ─┴──── ⇅ ─────┴───────────┤          │
//	                    │                           Paused ── resume, promote           │          │
//	                    │                                                               │          │
//	                    ├── another candidate in the plan ──▶ Superseded ── share 0 ────┤          │
//	                    │                                     is in force: new attempt  │          │
//	                    └── a hard guardrail, a breaker, abort ──▶ Aborting ◀───────────┴── undo ──┘
//	                                                       share 0 │ at once
//	                                         in force and drained  ▼
//	                                                            Aborted ── retry ──▶ a new attempt
//
// Steps may come in any order and more than once. What never happens:
//
//   - An abort waits for something. It is possible in every phase in which the
//     candidate has, or may get, traffic; writing the share is its first action.
//   - The share falls, unless an abort, a superseding candidate or an operator's
//     set-share lowers it. Capacity that goes away stops a ramp and does not turn it
//     back.
//   - A step is taken twice, or two shares are set by one event.
//   - A window in which a gateway is missing counts for one arm and not the other.
//   - The same plan, applied again, starts an attempt.
//
// # How harm is told from noise
//
// Guardrails compare the candidate with stable at the same time (package stats).
// Hard ones share the budget of false aborts; each fails when the candidate's odds
// of a bad unit are shown to be larger than stable's by more than a margin. Lack of
// data is a verdict of its own and never a failure. Latencies are not judged while
// the candidate is cold, or has more load per endpoint than stable; a candidate
// with less load is judged, since what is slow even so is slow. A fixed limit is
// judged in any case, unless stable breaks it too.
package rollout
