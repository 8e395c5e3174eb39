package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"crossfade.dev/internal/app"
	"crossfade.dev/internal/source/kube"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
)

// apiFlags say which API server a command talks to.
type apiFlags struct{ kubeconfig, context string }

func (a *apiFlags) add(f *pflag.FlagSet) {
	f.StringVar(&a.kubeconfig, "kubeconfig", "", "`file` that says how to reach the API server; inside a pod, its own when empty")
	f.StringVar(&a.context, "context", "", "context of that file; its current one when empty")
}

func (a *apiFlags) load() (*rest.Config, error) {
	return kube.LoadConfig(a.kubeconfig, a.context, versionText())
}

// logFlags say what is logged and how.
type logFlags struct{ format, level string }

func (l *logFlags) add(f *pflag.FlagSet) {
	f.StringVar(&l.format, "log-format", "text", "format of the log: text or json")
	f.StringVar(&l.level, "log-level", "info", "least level logged: debug, info, warn or error")
}

func (l *logFlags) logger() (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		return nil, fmt.Errorf("--log-level %q is not debug, info, warn or error", l.level)
	}
	o := &slog.HandlerOptions{Level: level}
	switch l.format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	}
	return nil, fmt.Errorf("--log-format %q is not text or json", l.format)
}

// addServingFlags adds the flags of every command that serves requests.
func addServingFlags(f *pflag.FlagSet, cfg *app.Config) {
	f.StringVar(&cfg.Admin, "admin", cfg.Admin, "`host:port` of metrics, status and health")
	f.DurationVar(&cfg.Drain, "drain", cfg.Drain, "how long running requests may finish after a stop signal")
	f.Float64Var(&cfg.AccessLog, "access-log", cfg.AccessLog, "share of requests to log, 0 to 1; never with prompt text")
	f.DurationVar(&cfg.PollInterval, "poll-interval", cfg.PollInterval, "time between reads of an endpoint's metrics")
	f.DurationVar(&cfg.FirstByteTimeout, "first-byte-timeout", cfg.FirstByteTimeout, "longest wait for an endpoint's answer to begin; 0 = none")
	f.DurationVar(&cfg.StreamIdleTimeout, "stream-idle-timeout", cfg.StreamIdleTimeout, "longest wait between two parts of an answer; 0 = none")
	f.Int64Var(&cfg.MaxBodyBytes, "max-body", cfg.MaxBodyBytes, "largest request body in `bytes` where no policy sets one")
	f.Int64Var(&cfg.BufferBytes, "buffer-memory", cfg.BufferBytes, "`bytes` of request bodies held at one time")
}

// runUntilSignal calls run with a context that the first SIGINT or SIGTERM ends.
// The second one ends the process at once.
func runUntilSignal(cmd *cobra.Command, run func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Handing the signals back once the first has come lets a second one through.
	release := context.AfterFunc(ctx, func() {
		stop()
		fmt.Fprintln(cmd.ErrOrStderr(), "crossfade: stopping; what runs may finish (signal again to end at once)")
	})
	defer release()
	return run(ctx)
}
