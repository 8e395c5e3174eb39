package kube

import (
	"cmp"
	"errors"
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Limits of the requests that one client makes by itself. The API server's
// priority and fairness guards it as well; these keep a start with many namespaces
// quick without a flood.
const (
	requestsPerSecond = 50
	requestBurst      = 100
)

// LoadConfig returns how to reach the API server: as the file kubeconfig says, in
// the context of that name ("" is the file's current one). Without a file it is
// the cluster this process runs in, or else what the environment variable
// KUBECONFIG or ~/.kube/config says. version is put into the User-Agent.
func LoadConfig(kubeconfig, context, version string) (*rest.Config, error) {
	cfg, err := loadConfig(kubeconfig, context)
	if err != nil {
		return nil, fmt.Errorf("load the configuration of the API server: %w", err)
	}
	cfg.QPS, cfg.Burst = requestsPerSecond, requestBurst
	cfg.UserAgent = "crossfade/" + version
	// Warnings of the API server repeat with every request and help nobody here.
	cfg.WarningHandler = rest.NoWarnings{}
	return cfg, nil
}

func loadConfig(kubeconfig, context string) (*rest.Config, error) {
	if kubeconfig == "" && context == "" {
		cfg, err := rest.InClusterConfig()
		if err == nil || !errors.Is(err, rest.ErrNotInCluster) {
			return cfg, err
		}
	}
	return clientConfig(kubeconfig, context).ClientConfig()
}

func clientConfig(kubeconfig, context string) clientcmd.ClientConfig {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: context})
}

// Whereabouts returns the name of the context that LoadConfig would use, "" inside a
// cluster, and the namespace it is about, "default" where it names none.
func Whereabouts(kubeconfig, context string) (name, namespace string) {
	c := clientConfig(kubeconfig, context)
	namespace, _, err := c.Namespace()
	if err != nil || namespace == "" {
		namespace = "default"
	}
	raw, err := c.RawConfig()
	if err != nil {
		return context, namespace
	}
	return cmp.Or(context, raw.CurrentContext), namespace
}
