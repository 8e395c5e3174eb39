// Command schedsim compares ways to choose endpoints on a discrete-event model
// of vLLM engines. It runs the project's own scheduler beside the policies of
// other routers, written from their documented formulas, on the same requests,
// and prints one table. docs/scheduling.md says what it models and what not.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"

	"crossfade.dev/internal/scheduling"
)

// maker makes the policy of one gateway.
type maker struct {
	name   string
	scrape float64 // seconds
	make   func(seed uint64) func(*world, int) policy
}

func fixed(f func(*world, int) policy) func(uint64) func(*world, int) policy {
	return func(uint64) func(*world, int) policy { return f }
}

func policies(o scheduling.Options) []maker {
	return []maker{
		{"round-robin", 0, fixed(newRoundRobin)},
		{"least-request", 0, fixed(newLeastRequest)},
		{"llm-d 3/2/2", 0.05, fixed(newBlend)},
		{"llm-d optimized", 0.05, fixed(newOptimized)},
		{"SGLang", 0, fixed(newCacheAware)},
		{"Dynamo", 0, fixed(newDynamo)},
		{"LMetric", 0, fixed(newLMetric)},
		{"crossfade", 1, func(seed uint64) func(*world, int) policy { return newCrossfade(o, seed) }},
	}
}

func main() {
	seeds := flag.Int("seeds", 5, "runs of each cell")
	seconds := flag.Float64("seconds", 200, "simulated seconds in which requests arrive")
	only := flag.String("workloads", "", "comma-separated names; empty: all")
	which := flag.String("policies", "", "comma-separated names; empty: all")
	levels := flag.String("loads", "0,1,2", "which of the three loads")
	objective := flag.String("objective", "balanced", "crossfade's objective")
	queue := flag.Int("queue", 4096, "calls that may wait in crossfade's queue")
	flag.Parse()
	o := scheduling.Options{Objective: scheduling.Objective(*objective), Queue: scheduling.QueueOptions{Calls: *queue}}
	var rows []row
	for _, w := range workloads() {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), w.name) {
			continue
		}
		for level, rate := range w.loads {
			if !strings.Contains(*levels, fmt.Sprint(level)) {
				continue
			}
			for _, m := range policies(o) {
				if *which != "" && !slices.Contains(strings.Split(*which, ","), m.name) {
					continue
				}
				r := row{workload: w.name, rate: rate, policy: m.name}
				for seed := range *seeds {
					r.results = append(r.results, simulate(w, rate, *seconds, uint64(seed+1), m))
				}
				rows = append(rows, r)
				r.print(os.Stdout)
			}
		}
	}
	printSummary(os.Stdout, rows)
}

// simulate is one run with 8 endpoints and one gateway.
func simulate(load *workload, rate, seconds float64, seed uint64, m maker) result {
	s := setup{engine: qwen32B(), endpoints: 8, scrape: m.scrape, toEngine: 0.005, makePolicy: m.make(seed)}
	s.engine.LoRASlots = load.lora
	requests := generate(load, rate, seconds, seed)
	w := newWorld(s, seed)
	w.run(requests)
	return measure(w, requests)
}
