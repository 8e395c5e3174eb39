// Package llm holds the words of a model call: what a request asks, what its
// response reported, and how the call went. It imports the standard library
// alone, does no I/O, starts no goroutine and reads no clock; instants are
// arguments.
//
// A call passes through it in this order.
//
//  1. [Scan] reads the request body once, from the first byte to the last. It
//     checks the grammar of the whole JSON document, so that no later parser
//     can read the same bytes differently, and remembers where the value of
//     "model" lies. Nothing is decoded but the model's name.
//  2. [Request.WithModel] splices another name into those bytes: three slices,
//     two of them the client's own bytes, none of them copied.
//  3. [Meter] watches the response while it is forwarded. It keeps no bytes
//     back and no text: an [EventReader] finds the data of each server-sent
//     event, a JSON walker follows that data byte by byte, and what is
//     remembered is a fixed handful of counts, two short names and the times
//     of the tokens. On the way the text is judged (judge.go): whether it is
//     empty, goes round in circles, or is not the JSON or the tool call that
//     it should be. Of that, too, hashes and the state of a walker remain.
//  4. [NameRestorer] runs the same reader and the same walker over the bytes
//     on their way out and puts the client's model name back where the engine
//     wrote the target's. It waits only inside a value that may still turn out
//     to be the target's name.
//  5. [Outcome] is what remains of the call: one value for the metrics, the
//     access log and a rollout's books, with a reason from the closed list in
//     reason.go.
//  6. [Error] is what the client reads when the gateway itself must answer, in
//     the shape of OpenAI's API.
//
// Two readers of JSON live here because they answer two needs. The checker
// (document.go) has the whole body and is made for speed and for a verdict.
// The walker (walker.go) sees chunks cut anywhere and must never wait, so it
// is a state machine with bounded memory. Fuzz tests hold both against
// encoding/json.
//
// Everything here treats its input as hostile: nesting, names and kept text
// are bounded, time is linear in the number of bytes, and no text of a prompt
// or an answer reaches an error message.
package llm
