//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	if err := newCommand().Execute(); err != nil {
		if errors.Is(err, context.Canceled) {
			err = errors.New("stopped")
		}
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func newCommand() *cobra.Command {
	c := defaultConfig()
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure Crossfade beside nginx and haproxy in one run",
		Long: `Measures Crossfade beside nginx and haproxy in one run, on this machine alone, and
prints one markdown table with the ratios. Build Crossfade first (make build).

Parts: requests (CPU per request and requests a second at saturation), latency (added
at a low rate), stream (CPU per event), idle (memory of streams on which nothing
moves), effect (from writing a route's file to the first answer that obeys it).

Targets whose program is missing are named and left out.`,
		Example: `  go run ./bench
  go run ./bench --parts requests --targets crossfade,haproxy --rounds 9`,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := c.validate(); err != nil {
				return err
			}
			// Only here: the helpers end at once on a signal, as by default.
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return measure(ctx, c, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	c.flags(cmd)
	cmd.AddCommand(helpers()...)
	return cmd
}

func (c *config) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.SortFlags = false
	f.StringSliceVar(&c.targets, "targets", c.targets, "what to measure")
	f.StringSliceVar(&c.parts, "parts", c.parts, "which parts to run")
	f.StringVar(&c.crossfade, "crossfade", c.crossfade, "`path` of the crossfade program")
	f.StringVar(&c.baseline, "baseline", c.baseline, "`path` of another build of crossfade, to measure beside it")
	f.IntVar(&c.rounds, "rounds", c.rounds, "how often targets take turns")
	f.IntVar(&c.endpoints, "endpoints", c.endpoints, "engines in each of the two groups")
	f.IntVar(&c.proxyCPU, "proxy-cpu", c.proxyCPU, "`processor` of the targets; -1 lets the system choose")
	f.IntVar(&c.loadCPU, "load-cpu", c.loadCPU, "`processor` of load and engine; -1 lets the system choose")
	f.IntVar(&c.requests, "requests", c.requests, "requests: how many for each target in a round")
	f.IntVar(&c.connections, "connections", c.connections, "requests: how many at a time")
	f.IntVar(&c.rate, "rate", c.rate, "latency: requests a second")
	f.DurationVar(&c.latencyTime, "latency-time", c.latencyTime, "latency: how long for each target in a round")
	f.IntVar(&c.streams, "streams", c.streams, "stream: how many at a time")
	f.DurationVar(&c.every, "chunk-interval", c.every, "stream: time between two events of one stream")
	f.DurationVar(&c.streamTime, "stream-time", c.streamTime, "stream: how long for each target in a round")
	f.IntVar(&c.idleStreams, "idle-streams", c.idleStreams, "idle: how many")
	f.IntVar(&c.effects, "effects", c.effects, "effect: how many changes")
}

// helpers are the commands that the harness runs itself as.
func helpers() []*cobra.Command {
	return []*cobra.Command{
		{
			Use: "engine PER-GROUP", Short: "Serve fake engines until killed", Hidden: true, Args: cobra.ExactArgs(1),
			RunE: func(cmd *cobra.Command, args []string) error {
				n, err := strconv.Atoi(args[0])
				if err != nil {
					return fmt.Errorf("engines per group: %w", err)
				}
				return runEngine(n, cmd.OutOrStdout())
			},
		},
		{
			Use: "reverse ADDRESS ENGINES", Short: "Serve the standard library's reverse proxy", Hidden: true, Args: cobra.ExactArgs(2),
			RunE: func(_ *cobra.Command, args []string) error { return runReverse(args[0], args[1]) },
		},
		{
			Use: "pin PROCESSOR PROGRAM...", Short: "Become PROGRAM on one processor", Hidden: true,
			DisableFlagParsing: true, Args: cobra.MinimumNArgs(2),
			RunE: func(_ *cobra.Command, args []string) error {
				cpu, err := strconv.Atoi(args[0])
				if err != nil {
					return fmt.Errorf("processor: %w", err)
				}
				return execPinned(cpu, args[1:])
			},
		},
	}
}
