package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"crossfade.dev/internal/sim"
	"github.com/spf13/cobra"
)

// simFlags are the flags of `crossfade sim`.
type simFlags struct {
	listen   string
	speed    float64
	seed     uint64
	model    string
	served   []string
	adapters []string
	profile  string
}

func newSimCommand() *cobra.Command {
	var f simFlags
	cmd := &cobra.Command{
		Use:   "sim [flags] [-- vllm serve MODEL ...]",
		Short: "Serve one simulated model server",
		Long: `Serve one simulated model server: vLLM's API over a model of its engine, with
no weights and no GPU. After -- may stand the command line of a real server, or of
a container that runs one; its model, names, adapters and limits are taken over.

While it runs, faults can be seen and changed at /sim/faults.`,
		Example: `  crossfade sim --model /models/Qwen-2.5-7B-Instruct --served-model-name mymodel
  crossfade sim --speed 10 -- vllm serve /models/x --enable-lora --lora-modules a=/models/a
  crossfade sim --listen 0.0.0.0: -- sh -c 'exec vllm serve /models/x --port 8001'
  curl -X PATCH 127.0.0.1:8000/sim/faults -d '{"failRate":0.1,"failStatus":503}'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := f.config(args)
			if err != nil {
				return err
			}
			if !cmd.Flags().Changed("listen") && len(args) > 0 {
				f.listen = "127.0.0.1:"
			}
			f.listen = withPort(f.listen, cfg.Port)
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runSim(ctx, cmd.OutOrStdout(), cfg, f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:8000", "address to serve on; without a port, as in 0.0.0.0:, on the command's --port")
	flags.Float64Var(&f.speed, "speed", 1, "clock factor: 10 is ten times faster, +Inf never waits")
	flags.Uint64Var(&f.seed, "seed", 0, "seed of faults and identifiers")
	flags.StringVar(&f.model, "model", "", "path or name of the model, when no command is given")
	flags.StringSliceVar(&f.served, "served-model-name", nil, "name clients ask for, instead of --model (repeatable)")
	flags.StringSliceVar(&f.adapters, "lora", nil, "LoRA adapter as name=path (repeatable)")
	flags.StringVar(&f.profile, "profile", sim.Profile7B().Name, "how fast the pretended accelerator is: "+profileNames())
	return cmd
}

func profileNames() string {
	var names []string
	for _, p := range sim.Profiles() {
		names = append(names, p.Name)
	}
	return strings.Join(names, ", ")
}

// withPort completes an address that ends in its colon.
func withPort(address string, port int) string {
	if strings.HasSuffix(address, ":") {
		address += strconv.Itoa(port)
	}
	return address
}

// config joins the command after -- and the flags.
func (f simFlags) config(args []string) (sim.Config, error) {
	profile, err := sim.ProfileByName(f.profile)
	if err != nil {
		return sim.Config{}, fmt.Errorf("--profile: %w", err)
	}
	if !(f.speed > 0) {
		return sim.Config{}, fmt.Errorf("--speed %g: want a number above 0", f.speed)
	}
	if len(args) == 0 {
		if f.model == "" {
			return sim.Config{}, errors.New(`no model: give --model NAME, or -- and a "vllm serve NAME" command`)
		}
		args = []string{"vllm", "serve", "--model", f.model}
		if len(f.served) > 0 {
			args = append(append(args, "--served-model-name"), f.served...)
		}
		if len(f.adapters) > 0 {
			args = append(append(args, "--enable-lora", "--max-loras", strconv.Itoa(len(f.adapters)), "--lora-modules"), f.adapters...)
		}
	} else if f.model != "" || len(f.served) > 0 || len(f.adapters) > 0 {
		return sim.Config{}, errors.New("--model, --served-model-name and --lora belong into the command after --")
	}
	// Where a container's command ends and its args begin is lost here, and only
	// matters for args alone, those of an image that starts vLLM itself.
	command := args
	if strings.HasPrefix(args[0], "-") {
		command = nil
	}
	cfg, ok, err := sim.ParseCommand(command, args[len(command):])
	if err != nil {
		return sim.Config{}, err
	}
	if !ok {
		return sim.Config{}, fmt.Errorf(`%q is no server that can be imitated: want a "vllm serve MODEL" command`, strings.Join(args, " "))
	}
	cfg.Profile = profile
	return cfg, nil
}

// runSim serves until ctx ends.
func runSim(ctx context.Context, out io.Writer, cfg sim.Config, f simFlags) error {
	ln, err := net.Listen("tcp", f.listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	addr := ln.Addr().String()
	server := sim.New(cfg, sim.Options{
		Speed: f.speed, Seed: f.seed, Name: addr,
		Logger: slog.New(slog.NewTextHandler(out, nil)),
	})
	fmt.Fprint(out, server.Banner(addr))
	return server.Serve(ctx, ln)
}
