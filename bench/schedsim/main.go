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

// options are the command's flags.
type options struct {
	first                        uint64
	seeds                        int
	seconds                      float64
	workloads, policies, loads   string
	scenarios                    bool
	objective, saveTo, printFrom string
	trace                        string
	queue                        int
}

func main() {
	var o options
	flag.Uint64Var(&o.first, "first", 1, "seed of the first run; the others count on from it")
	flag.IntVar(&o.seeds, "seeds", 5, "runs of each cell")
	flag.Float64Var(&o.seconds, "seconds", 200, "simulated seconds in which requests arrive")
	flag.StringVar(&o.workloads, "workloads", "", "comma-separated names; empty: all")
	flag.StringVar(&o.policies, "policies", "", "comma-separated names; empty: all")
	flag.StringVar(&o.loads, "loads", "0,1,2", "which of the three loads")
	flag.StringVar(&o.objective, "objective", "balanced", "crossfade's objective")
	flag.IntVar(&o.queue, "queue", 4096, "calls that may wait in crossfade's queue")
	flag.StringVar(&o.saveTo, "save", "", "append results to this file")
	flag.StringVar(&o.printFrom, "print", "", "simulate nothing, print the table of a saved file")
	flag.StringVar(&o.trace, "trace", "", "instead of the workloads, replay this `file`: Mooncake's JSON lines or Azure's CSV; the loads are 1, 1.15 and 1.3 times as fast")
	flag.BoolVar(&o.scenarios, "scenarios", false, "run the scenarios (gateways that share, canary, wrong priors) instead of the table")
	flag.Parse()
	if err := run(&o); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(o *options) error {
	switch {
	case o.printFrom != "":
		rows, err := load(o.printFrom)
		if err == nil {
			printTable(os.Stdout, rows)
		}
		return err
	case o.scenarios:
		runScenarios(os.Stdout, o)
		return nil
	}
	loads := workloads()
	if o.trace != "" {
		t, err := traceWorkload(o.trace)
		if err != nil {
			return err
		}
		loads = []*workload{t}
	}
	rows, err := simulateAll(o, loads)
	if err == nil {
		printTable(os.Stdout, rows)
	}
	return err
}

func (o *options) scheduling() scheduling.Options {
	return scheduling.Options{Objective: scheduling.Objective(o.objective), Queue: scheduling.QueueOptions{Calls: o.queue}}
}

// wants reports whether a comma-separated list names something; an empty one
// names all.
func wants(list, name string) bool {
	return list == "" || slices.Contains(strings.Split(list, ","), name)
}

// simulateAll fills the cells of the table that were asked for, seed by seed, so
// that what is saved of a run that is stopped compares all policies.
func simulateAll(o *options, loads []*workload) ([]row, error) {
	var rows []row
	for seed := o.first; seed < o.first+uint64(o.seeds); seed++ {
		for _, c := range o.cells(loads) {
			r := row{
				Workload: c.load.name, Rate: c.rate, Policy: c.maker.name, Seconds: o.seconds,
				Seeds: []uint64{seed}, Results: []result{simulate(c.load, c.rate, o.seconds, seed, c.maker)},
			}
			rows = merge(rows, r)
			if o.saveTo == "" {
				continue
			}
			if err := r.save(o.saveTo); err != nil {
				return nil, err
			}
		}
	}
	return rows, nil
}

// cell is one policy on one workload at one rate.
type cell struct {
	load  *workload
	rate  float64
	maker maker
}

// cells are those that the flags ask for.
func (o *options) cells(loads []*workload) []cell {
	var out []cell
	for _, w := range loads {
		for level, rate := range w.loads {
			for _, m := range policies(o.scheduling()) {
				if wants(o.workloads, w.name) && wants(o.loads, fmt.Sprint(level)) && wants(o.policies, m.name) {
					out = append(out, cell{w, rate, m})
				}
			}
		}
	}
	return out
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
