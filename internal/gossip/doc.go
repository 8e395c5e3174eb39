// Package gossip carries what the gateways of one data plane tell each other of
// the work they have given to endpoints, so that several choose as one.
//
//  1. Whoever knows the pods of the data plane says which others there are
//     ([Gossip.SetPeers]). Without any, nothing is sent and nothing accepted.
//  2. At each interval the scheduler's news is written down once (wire.go) and
//     posted to every peer's admin port (peer.go). Old news is
//     worth little, so there is no retry: for a slow peer a few wait, and one
//     that fails is let alone for longer and longer, up to five seconds.
//  3. A peer takes news from the addresses of its own peers alone, reads it with
//     limits, and hands what is newer than the last from there to its scheduler
//     (receive.go).
//  4. For each pool that it gets to know, a gateway asks peers once what blocks of
//     prompts they remember (recall.go).
//
// A gateway that has nothing to tell says so once and is silent until it has.
package gossip
