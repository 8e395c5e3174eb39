package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"crossfade.dev/internal/app"
	"github.com/spf13/cobra"
)

func newUpCommand() *cobra.Command {
	cfg := app.Defaults()
	var logFormat, logLevel string
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
			log, err := newLogger(logFormat, logLevel)
			if err != nil {
				return err
			}
			cfg.Paths, cfg.Log = args, log
			return runUp(cmd, cfg)
		},
	}
	f := cmd.Flags()
	f.StringVar(&cfg.Bind, "bind", cfg.Bind, "IP `address` that listeners bind, each on its own port")
	f.StringVar(&cfg.Admin, "admin", cfg.Admin, "`host:port` of metrics, status and health")
	f.DurationVar(&cfg.Drain, "drain", cfg.Drain, "how long running requests may finish after a stop signal")
	f.Float64Var(&cfg.AccessLog, "access-log", cfg.AccessLog, "share of requests to log, 0 to 1; never with prompt text")
	f.Float64Var(&cfg.SimSpeed, "sim-speed", cfg.SimSpeed, "clock factor of simulated model servers")
	f.Uint64Var(&cfg.SimSeed, "sim-seed", cfg.SimSeed, "seed of simulated model servers")
	f.DurationVar(&cfg.PollInterval, "poll-interval", cfg.PollInterval, "time between reads of an endpoint's metrics")
	f.DurationVar(&cfg.FirstByteTimeout, "first-byte-timeout", cfg.FirstByteTimeout, "longest wait for an endpoint's answer to begin; 0 = none")
	f.DurationVar(&cfg.StreamIdleTimeout, "stream-idle-timeout", cfg.StreamIdleTimeout, "longest wait between two parts of an answer; 0 = none")
	f.Int64Var(&cfg.MaxBodyBytes, "max-body", cfg.MaxBodyBytes, "largest request body in `bytes` where no policy sets one")
	f.Int64Var(&cfg.BufferBytes, "buffer-memory", cfg.BufferBytes, "`bytes` of request bodies held at one time")
	f.StringVar(&logFormat, "log-format", "text", "format of the log: text or json")
	f.StringVar(&logLevel, "log-level", "info", "least level logged: debug, info, warn or error")
	return cmd
}

func runUp(cmd *cobra.Command, cfg app.Config) error {
	up, err := app.NewUp(cfg)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	up.OnReady = func() { fmt.Fprint(cmd.OutOrStdout(), up.Banner()) }
	// Handing the signals back once the first has come lets a second one end the
	// process at once.
	release := context.AfterFunc(ctx, func() {
		stop()
		fmt.Fprintln(cmd.ErrOrStderr(), "crossfade: stopping; running requests may finish (signal again to end at once)")
	})
	defer release()
	return up.Run(ctx)
}

func newLogger(format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q is not debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	}
	return nil, fmt.Errorf("--log-format %q is not text or json", format)
}
