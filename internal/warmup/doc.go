// Package warmup sends requests to the endpoints of a candidate before any user does.
// A server that says it is ready still has to load an adapter, compile kernels and
// fill its memory, and the first users would pay for that.
//
// While a snapshot asks for it (routing.Warmup), every endpoint of the candidate's
// pool that may serve its model is sent one request after the other, directly:
// neither the picker nor the books of the rollout hear of them. An endpoint is done
// when it has answered as many as were asked for and has become steady: the last
// few answers were not much faster than what the same requests took before. Jitter
// must not keep it from that for ever, so after some more it is taken to be.
//
// Without requests of the user's own there are built-in ones: short answers to
// prompts of growing length, each of which begins differently, so that no cache of
// prefixes spares the server the work. Chat completions are tried first, then
// completions, for servers of models without a chat template.
package warmup
