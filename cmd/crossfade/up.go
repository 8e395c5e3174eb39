package main

import (
	"fmt"

	"crossfade.dev/internal/app"
	"github.com/spf13/cobra"
)

func newUpCommand() *cobra.Command {
	cfg := app.Defaults()
	var logs logFlags
	cmd := &cobra.Command{
		Use:   "up PATH...",
		Short: "Run the gateway from Kubernetes YAML files, without a cluster",
		Long: `Runs the whole gateway in one process from Kubernetes YAML files.

PATH is a file or a directory, searched recursively for *.yaml, *.yml and *.json.
Changes to the files take effect within a second and cut no running request.

Pods whose container runs "vllm serve ..." and that have no address are simulated
on loopback. A pod is a real endpoint when it carries an address: the annotation
crossfade.dev/address: "host:port" on the pod or on the template of its
Deployment, or status.podIP.

The first SIGINT or SIGTERM stops taking requests and lets running ones finish;
the second ends at once.`,
		Example: `  crossfade up examples/gray-release
  crossfade up --bind 0.0.0.0 --access-log 1 /etc/crossfade`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			log, err := logs.logger()
			if err != nil {
				return err
			}
			cfg.Paths, cfg.Log = args, log
			return runUp(cmd, cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Bind, "bind", cfg.Bind, "IP `address` that listeners bind, each on its own port")
	addServingFlags(f, &cfg)
	f.Float64Var(&cfg.SimSpeed, "sim-speed", cfg.SimSpeed, "clock factor of simulated model servers")
	f.Uint64Var(&cfg.SimSeed, "sim-seed", cfg.SimSeed, "seed of simulated model servers")
	logs.add(f)
	return cmd
}

func runUp(cmd *cobra.Command, cfg app.Config) error {
	up, err := app.NewUp(cfg)
	if err != nil {
		return err
	}
	up.OnReady = func() { fmt.Fprint(cmd.OutOrStdout(), up.Banner()) }
	return runUntilSignal(cmd, up.Run)
}
