// Package modelserver asks model servers how they are and which models they
// serve.
//
//  1. [Poller.SetEndpoints] says whom to ask. Between two polls an endpoint is
//     a timer and nothing else: no goroutine waits for it.
//  2. A new endpoint is asked for its models at once, later every ten seconds;
//     for its metrics every second, at a phase of its own, so that thousands of
//     endpoints are asked evenly (poller.go).
//  3. Only so many are asked at a time. Endpoints that failed last time have
//     places of their own, so that a rack which answers nothing does not hold
//     up the others; they are asked more and more seldom (task.go).
//  4. The answers come over connections that are kept, with bounded size and
//     time; redirects are not followed (fetch.go).
//  5. Metrics are Prometheus text of a hundred kilobytes of which five numbers
//     matter, so it is scanned, not decoded (exposition.go). What the numbers
//     are called depends on the engine, one file each: vllm.go, sglang.go,
//     trtllm.go, triton.go. The engine is known by the names themselves.
//  6. What was learned goes to Options.OnMetrics and Options.OnModels, never
//     after the endpoint has been removed (endpoint.go).
//
// An endpoint that cannot be reached keeps the models it last reported: whether
// it may have requests is decided by those who send them.
package modelserver
