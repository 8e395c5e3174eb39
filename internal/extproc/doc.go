// Package extproc asks external endpoint pickers which endpoint of a pool a request
// should go to: it is the data plane's side of the endpoint picker protocol
// (Gateway API Inference Extension, proposal 004), which rides on Envoy's ext_proc.
//
// One HTTP request is one [Call] and one gRPC stream:
//
//  1. [Client.Begin] makes the Call. Streams share one HTTP/2 connection per picker
//     endpoint (connections.go), which is closed when the last stream ends after
//     the picker left the snapshot.
//  2. [Call.Choose] (choose.go) sends head and body, in pieces, without waiting, and
//     reads replies in whatever order they come. choice.go makes sense of them: a
//     pure state that is fed one message at a time and says when it has all it
//     needs. What it makes of the messages are header changes (mutation.go), a body,
//     and a list of endpoints (destination.go), of which only those of the pool
//     count.
//  3. While an endpoint works, dispatch.go listens on: the picker may still answer
//     the request itself, which ends Call.Context, or leave.
//  4. [Call.Answer] (answer.go) tells who served, and the answer passes through the
//     picker: one goroutine reads the endpoint and sends, the caller reads what
//     comes back. relay.go is the pure state of that; it keeps every byte that the
//     picker has not given back, so that the answer can go on without it.
//  5. [Call.Close] takes leave: in order after a whole answer, by a reset otherwise.
//
// A picker can fail at each step, and then [scheduling.ErrExternal] says so: whether
// the request fails with it is the pool's failureMode, which callers apply before
// an endpoint was chosen and the Call after that. A picker that closes the stream
// in order has merely said that it has nothing to add.
//
// Everything a picker sends is bounded: the size of a message, of header changes,
// of bodies, the number of messages that bring nothing, and the wait for them.
package extproc
