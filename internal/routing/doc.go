// Package routing holds the immutable Snapshot a gateway serves from and the
// matching of one request against it.
//
// A request meets it in five steps:
//
//  1. Snapshot.Listener finds the listener of the request's port whose hostname
//     fits the Host header best; other listeners no longer count (listener
//     isolation, Gateway API).
//  2. Listener.Match finds the Route: most specific hostname, then exact path,
//     regular expression, longest prefix, then method, header and query count,
//     then the oldest object.
//  3. Rule.Split gives the weighted choice among the backends that can serve
//     the requested model; Split.Draw takes one (see split.go for how the draw
//     is exact and unpredictable at once).
//  4. Pool.Rule gives the targets of the model inside the chosen pool; its
//     Split.Draw takes one.
//  5. An endpoint is then picked from Pool.Endpoints; that is package
//     scheduling's work.
//
// Everything here is a plain value computed by package translate. The only
// thing that changes after Arm is the position of each split's Sequence, a
// single atomic counter. The package uses the standard library alone.
package routing
