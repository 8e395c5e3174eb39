// Command rolloutsim measures by simulation how often rollouts are stopped without
// cause, and how soon with cause.
//
//	go run ./bench/rolloutsim               # all tables: hours of one core
//	go run ./bench/rolloutsim -runs 100 -detections 50
//	go run ./bench/rolloutsim -table null -only sessions
//	go run ./bench/rolloutsim -guardrails error-rate,ttft
//
// Every run has a seed of its own, counted from -seed: the tables are the same on
// every machine.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

// options are what the command line says.
type options struct {
	runs, detections int
	seed             uint64
	only             string
	session          float64  // requests, on average, in those of the third table
	guardrails       []string // none: those by default
}

func main() {
	var o options
	flag.IntVar(&o.runs, "runs", 1000, "A/A rollouts of each kind")
	flag.IntVar(&o.detections, "detections", 200, "runs of each detection")
	flag.StringVar(&o.only, "only", "", "only rollouts whose kind, or regression with its traffic (TTFT x2 at 20 rps), contains this")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the first run")
	flag.Float64Var(&o.session, "session", 10, "requests of a session in whole rollouts, on average")
	names := flag.String("guardrails", "", "names of the guardrails, with commas; empty: those by default")
	table := flag.String("table", "", "one table: null (A/A rollouts), test (the test alone), rollouts (whole ones); empty: all")
	flag.Parse()
	if *names != "" {
		o.guardrails = strings.Split(*names, ",")
	}
	printers := []struct {
		name  string
		print func(io.Writer, options)
	}{{"null", printNulls}, {"test", printDetections}, {"rollouts", printRollouts}}
	known := *table == ""
	for _, p := range printers {
		known = known || p.name == *table
	}
	if o.runs < 1 || o.detections < 1 || !(o.session >= 1) || !known {
		fmt.Fprintln(os.Stderr, "rolloutsim: -runs, -detections and -session must be at least 1, -table null, test or rollouts")
		os.Exit(2)
	}
	for _, p := range printers {
		if *table == "" || *table == p.name {
			p.print(os.Stdout, o)
		}
	}
}
