package main

import (
	"strings"
	"time"

	"crossfade.dev/internal/app"
	"crossfade.dev/internal/source/kube"
	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"
)

func newGatewayCommand() *cobra.Command {
	cfg := app.Defaults()
	cfg.Bind, cfg.Admin, cfg.Leave = "", ":19000", 3*time.Second
	cfg.ShareInterval = 100 * time.Millisecond
	var api apiFlags
	var log logFlags
	var name string
	cmd := &cobra.Command{
		Use:   "gateway --gateway NAMESPACE/NAME",
		Short: "Run the data plane of one Gateway on Kubernetes",
		Long: `Runs the data plane of one Gateway, which it reads from the API server together
with the routes, pools and pods behind it. It writes nothing there, and while the
API server is away it goes on serving what it knew.

"crossfade controller" makes a Deployment of it for every Gateway; by hand it is of
use to look at a cluster's routing from a laptop.

The first SIGINT or SIGTERM stops taking requests and lets running ones finish;
the second ends at once.`,
		Example: `  crossfade gateway --gateway default/inference-gateway
  crossfade gateway --kubeconfig ~/.kube/config --gateway default/inference-gateway --bind 127.0.0.1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			logger, err := log.logger()
			if err != nil {
				return err
			}
			cfg.Log = logger
			server, err := api.load()
			if err != nil {
				return err
			}
			var of types.NamespacedName
			of.Namespace, of.Name, _ = strings.Cut(name, "/")
			source := kube.New(server, kube.Options{Logger: logger, HoldOff: cfg.HoldOff, Only: of})
			gateway, err := app.NewGateway(cfg, of, source)
			if err != nil {
				return err
			}
			return runUntilSignal(cmd, gateway.Run)
		},
	}
	f := cmd.Flags()
	f.StringVar(&name, "gateway", "", "the Gateway to serve, as `namespace/name`")
	f.StringVar(&cfg.Bind, "bind", cfg.Bind, "IP `address` that listeners bind; every address when empty")
	addServingFlags(f, &cfg)
	f.DurationVar(&cfg.ShareInterval, "share-interval", cfg.ShareInterval, "how often the data plane's other pods are told what is in flight here; 0 = never")
	api.add(f)
	log.add(f)
	return cmd
}
