// Command bench measures Crossfade beside nginx and haproxy, in one run, on one
// machine. It needs Linux: processor time is read from the kernel's clock of each
// process.
//
//  1. A fake engine (the same binary, `bench engine`) answers chat completions and
//     streams of server-sent events, so cheaply that what is measured is the proxy.
//  2. Each target is started on a port of its own with a configuration made for it:
//     nginx and haproxy forward, Crossfade also reads and rewrites the model name.
//     All of them spread requests 90/10 over two groups of engines.
//  3. Targets run on one processor, load and engine on another. Targets take turns
//     within each round, so that a slow moment of the machine meets them all.
//  4. Every answer is compared with the one the engine must have given; wrong ones
//     are counted and shown.
//  5. The medians of all rounds become one table, with ratios to haproxy and nginx.
//
// Everything that was started is stopped by its process id, also on Ctrl-C.
package main
