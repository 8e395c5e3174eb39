package main

import (
	"fmt"
	"log/slog"

	"crossfade.dev/internal/app"
	"github.com/spf13/cobra"
)

func newUpCommand() *cobra.Command {
	cfg := app.Defaults()
	var logs logFlags
	var state string
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

What InferenceRollouts have come to is kept in a file of its own for each set of
paths, so that the next run goes on where this one stopped; see --state.

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
			cfg.StateFile = stateFile(state, args, log)
			return runUp(cmd, cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Bind, "bind", cfg.Bind, "IP `address` that listeners bind, each on its own port")
	addServingFlags(f, &cfg)
	f.Float64Var(&cfg.SimSpeed, "sim-speed", cfg.SimSpeed, "clock factor of simulated model servers")
	f.Uint64Var(&cfg.SimSeed, "sim-seed", cfg.SimSeed, "seed of simulated model servers")
	f.StringVar(&state, "state", "", "`file` that remembers rollouts, or none (default: one in $XDG_STATE_HOME/crossfade, or ~/.local/state/crossfade)")
	logs.add(f)
	return cmd
}

// stateFile is the file that a --state flag names, "" for none.
func stateFile(flag string, paths []string, log *slog.Logger) string {
	switch flag {
	case "none":
		return ""
	case "":
		path, err := app.DefaultStateFile(paths)
		if err != nil {
			log.Warn("rollouts are not remembered over restarts; --state FILE names a file", "error", err)
		}
		return path
	}
	return flag
}

func runUp(cmd *cobra.Command, cfg app.Config) error {
	up, err := app.NewUp(cfg)
	if err != nil {
		return err
	}
	up.OnReady = func() { fmt.Fprint(cmd.OutOrStdout(), up.Banner()) }
	return runUntilSignal(cmd, up.Run)
}
