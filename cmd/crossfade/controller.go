package main

import (
	"context"
	"os"
	"slices"

	"crossfade.dev/internal/app"
	"crossfade.dev/internal/source/kube"
	"github.com/spf13/cobra"
)

func newControllerCommand() *cobra.Command {
	cfg := app.ControllerConfig{Admin: ":19000", Lease: kube.LeaseOptions{Name: "crossfade-controller"}}
	var api apiFlags
	var log logFlags
	var names []string
	var alone bool
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Run the controller on Kubernetes: statuses, and a data plane for each Gateway",
		Long: `Runs the controller. For every Gateway of the GatewayClasses that are its own it
makes a Deployment of "crossfade gateway", a Service and what these need, and it
writes the statuses of all objects that Crossfade reads. Requests do not pass
through it: data planes go on without it.

Of several controllers one leads and writes; the others wait.`,
		Example: `  crossfade controller
  crossfade controller --controller-name gateway.envoyproxy.io/gatewayclass-controller`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if cfg.Log, err = log.logger(); err != nil {
				return err
			}
			if cfg.API, err = api.load(); err != nil {
				return err
			}
			cfg.Controllers = append([]string{app.ControllerName}, names...)
			slices.Sort(cfg.Controllers[1:])
			if alone {
				cfg.Lease.Name = ""
			}
			if cfg.Lease.Identity == "" {
				if cfg.Lease.Identity, err = os.Hostname(); err != nil {
					return err
				}
			}
			cfg.Lease.Logger = cfg.Log
			if cfg.Image == "" {
				cfg.Image = ownImage(cmd.Context(), &cfg)
			}
			controller, err := app.NewController(cfg)
			if err != nil {
				return err
			}
			return runUntilSignal(cmd, controller.Run)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&names, "controller-name", nil, "further `controllerName` of GatewayClasses that are ours; may be repeated")
	f.StringVar(&cfg.Image, "image", "", "`image` of the data planes; that of this pod when empty")
	f.StringVar(&cfg.Admin, "admin", cfg.Admin, "`host:port` of metrics, status and health")
	f.StringVar(&cfg.Lease.Namespace, "namespace", os.Getenv("POD_NAMESPACE"), "`namespace` of the leader's Lease")
	f.StringVar(&cfg.Lease.Identity, "identity", os.Getenv("POD_NAME"), "`name` of this process among controllers; the host's when empty")
	f.BoolVar(&alone, "no-leader-election", false, "lead without asking, where no other controller runs")
	api.add(f)
	log.add(f)
	return cmd
}

// ownImage is the image of the pod this process runs in, "" when it is not known.
func ownImage(ctx context.Context, cfg *app.ControllerConfig) string {
	image, err := kube.PodImage(ctx, cfg.API, os.Getenv("POD_NAMESPACE"), os.Getenv("POD_NAME"), "controller")
	if err != nil {
		cfg.Log.Warn("the image of this pod is not known", "error", err)
	}
	return image
}
