// Package upstream is the gateway's own HTTP/1.1 client for the plain path: clear text to one
// model server at ip:port. It replaces net/http's Transport there because it costs about half
// the CPU per request; TLS, h2c and proxies stay with Transport.
//
// One call of Client.Do goes like this:
//
//  1. write.go checks the request and renders its head. A small body is copied behind the head
//     so that the whole request leaves in one write; a large or streamed one is left to a
//     sender (sender.go), a goroutine that lives only as long as that body is being written,
//     so that a server which answers early is heard.
//  2. pool.go hands out the connection of this address that went idle last, or client.go dials.
//  3. conn.go ties the connection to the context: the moment the context ends the connection
//     is closed, whatever phase the exchange is in.
//  4. raw_unix.go checks a reused connection for a close or for bytes nobody asked for, writes,
//     and waits for the answer, as one operation on the descriptor: the check takes the place
//     of the read that would find nothing yet, so it costs no system call.
//  5. head.go and fields.go find and parse the response head in a pooled buffer, strictly
//     (RFC 9112): what two readers could frame in two ways is refused, never guessed.
//  6. Response.Read (response.go) reads from the socket straight into the caller's slice and
//     strips the chunk framing in place (chunked.go). So what arrived together is returned
//     together, and a stream waiting for its next event holds no buffer here at all.
//  7. With the last byte of the body the connection goes back to the pool; Close before that
//     closes it, which tells the model server to stop generating.
//
// A reused connection that dies before any byte of a response is replaced once by a fresh one
// within Do, if the body can be sent again: model servers close idle connections after a few
// seconds, and that race is nobody's fault. Every other failure is an *Error that says whether
// a byte of the response had arrived, so that the caller can choose another endpoint.
//
// No goroutine waits on an idle connection and no timer runs per read: timeouts are deadlines
// on the connection, moved on only when a quarter of their period has passed (conn.go). The hot
// path does not even read the clock.
package upstream
