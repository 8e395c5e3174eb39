// Command rolloutsim measures by simulation how often rollouts are stopped without
// cause, and how soon with cause.
//
//	go run ./bench/rolloutsim               # the full tables, some minutes of one core
//	go run ./bench/rolloutsim -runs 100 -detections 50
//	go run ./bench/rolloutsim -only sessions
//
// Every run has a seed of its own, counted from -seed: the tables are the same on
// every machine.
package main

import (
	"flag"
	"fmt"
	"os"
)

func main() {
	runs := flag.Int("runs", 1000, "A/A rollouts of each kind")
	detections := flag.Int("detections", 200, "runs of each detection")
	only := flag.String("only", "", "only A/A rollouts whose kind contains this, and nothing else")
	seed := flag.Uint64("seed", 1, "seed of the first run")
	flag.Parse()
	if *runs < 1 || *detections < 1 {
		fmt.Fprintln(os.Stderr, "rolloutsim: -runs and -detections must be at least 1")
		os.Exit(2)
	}
	printNulls(os.Stdout, *only, *runs, *seed)
	if *only != "" {
		return
	}
	printDetections(os.Stdout, *detections, *seed)
	printRollouts(os.Stdout, *detections, *seed)
}
