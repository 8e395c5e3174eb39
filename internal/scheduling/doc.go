// Package scheduling chooses one endpoint of a pool for each call.
//
// It compares endpoints in one unit, estimated seconds, so that a cached
// prefix, a queue, a full KV cache and an adapter that must be loaded can be
// weighed against each other. Scores between 0 and 1 cannot do that: stretched
// between the best and the worst endpoint, a queue of 1 against 0 looks like
// one of 500 against 0.
//
// A call passes through it in these steps.
//
//  1. [Scheduler.Pick] hashes the prompt in chained blocks (prefix.go) before
//     it takes any lock.
//  2. Under the lock of its pool, endpoints that should not have the call are set
//     aside, unless that would leave none, and for each other one the cost is
//     estimated (decide.go, cost.go, pace.go, lora.go): from what is in flight there
//     (load.go), how much of the prompt its cache probably holds
//     (prefixindex.go), and what an engine's step costs (calibration.go). The
//     least cost wins, by lot among equals.
//  3. When all endpoints are full the call waits, by priority and fairly between
//     flows (queue.go), until somebody makes room.
//  4. The choice is booked on the endpoint before the lock is released, so that
//     calls of one burst see each other. The [Reservation] gives it back
//     (reservation.go): the prompt at the first token, the rest at the end.
//  5. An endpoint that fails is set aside for a second, then longer, and comes
//     back with one request at a time, then two, four and so on; one that joins
//     begins like that (health.go).
//  6. Other gateways are told what is in flight here, and tell (peers.go).
//
// What endpoints say of themselves only ever adds to what is known here: the
// count of requests in flight is ours plus those of others that a scrape
// showed. Old metrics are ignored; no endpoint is refused for want of metrics.
//
// The state of a pool is the one thing that changes. There is no goroutine and
// no clock but the timer that bounds a wait: instants come with the calls.
// Nothing here learns what a prompt says; of it only hashes are kept.
package scheduling
