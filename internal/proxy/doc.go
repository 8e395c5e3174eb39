// Package proxy is the HTTP data plane: it takes one request, follows the
// Snapshot it finds, and streams one engine's answer back.
//
// A request crosses these steps, each in the file of its name:
//
//  1. listeners.go accepts the connection on a port of the Snapshot; tls.go
//     chooses its certificate by SNI, and guard.go with framing.go finds what
//     net/http's server would frame leniently. From here on everything is an ordinary http.Handler
//     that knows nothing of the server in front of it.
//  2. exchange.go loads the Snapshot, once: the request lives and dies with it.
//     Its serve method is the table of contents of all that follows.
//  3. match.go finds listener and route, and refuses request targets that two
//     servers could read in two ways.
//  4. redirect.go, models.go and, for preflights, cors.go answer what needs no engine.
//  5. body.go reads the body of a model call into a budgeted buffer
//     (limits.go) and has llm scan it; other bodies stay streams (upload.go).
//  6. draw.go draws the backend for the model, and the target model inside the
//     backend's pool. rescue.go comes back here when the candidate of a rollout fails
//     before the client has seen anything: stable is asked instead. trials.go knows who
//     is on a candidate, for an abort that cuts.
//  7. headers.go and target.go compose what the engine is sent: end-to-end fields
//     alone, the route's changes, the spliced model, every other byte as it came.
//     mirror.go copies it first for the route's mirrors, and for rollouts that compare
//     the copy's answer (compare.go). Copies go their own way (shadow.go).
//  8. consult.go shows the request to the pool's external endpoint picker, where
//     there is one, and has the answer pass through it later: a list of endpoints,
//     changed fields and bodies come of that. Whatever it does, it talks to the proxy
//     through the interface Consultation.
//  9. forward.go has the EndpointPicker choose an endpoint, or book the one that was
//     chosen, sends (over upstream's
//     HTTP/1.1 client, or h2c.go) and, while the client has seen nothing, tries
//     another endpoint when one fails (retry.go).
//  10. answer.go writes the head, stream.go the bytes: each read is metered, given
//     the client's model name back if it has to be (NameRestorer), and flushed.
//     clientwrite.go bounds the wait for clients that do not read; upgrade.go joins
//     two connections when both sides switch protocols.
//  11. exchange.go closes the books: one Outcome goes to the Observer.
//
// Errors travel as refusals (errors.go), each a public answer and a reason; only
// exchange.go writes them. After the first byte there is no way back: an event
// stream gets an error event and a clean end, anything else is aborted so that
// the client can tell.
package proxy
