// Package sim imitates model servers: vLLM's HTTP surface over a small model of
// its engine, with no weights and no GPU. It serves `crossfade up`, `crossfade
// sim` and tests, and says that it is a simulator wherever a person may look:
// the banner, the Server header, /version, the metrics and every answer.
//
// How a request travels:
//
//  1. ParseCommand reads a container's own command line (`vllm serve ...`) into
//     a Config: model, served names, adapters, limits. A Profile adds what a
//     command line does not say: how fast the pretended accelerator is and how
//     much KV cache it holds.
//  2. Server decodes the HTTP request, checks it as vLLM does, renders the
//     prompt and cuts it into stand-in tokens of four bytes (tokens.go).
//  3. The answer is composed before it is timed: a fixed function of speaker and
//     question (answer.go), so its length in tokens is known. Faults may change
//     it, or the way the request ends (faults.go).
//  4. The driver submits the tokens to the Engine and keeps the clock: it calls
//     Engine.Step, sets a timer for as long as the step lasts, divided by the
//     speed factor, and steps again. An idle server has neither a goroutine nor
//     a timer.
//  5. The Engine decides as vLLM V1 does, step by step: decodes and chunks of
//     prefill share one token budget, sequences hold counted KV blocks that
//     prefixes share, the last running sequence is preempted when blocks run
//     out, adapters take slots. Requests therefore slow each other down as they
//     would on an accelerator; nothing sleeps on its own.
//  6. Each finished step gives every sequence at most one token. The handler
//     wakes and writes the text of the tokens that have arrived.
//
// Engine is pure: it starts no goroutine and reads no clock, and the same calls
// give the same results. What it leaves out: generated blocks are not offered to
// the prefix cache, an adapter load costs one fixed time, CPU adapter caches,
// speculative decoding and disaggregation do not exist.
package sim
