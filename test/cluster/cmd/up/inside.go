package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"k8s.io/klog/v2"

	"crossfade.dev/test/cluster/internal/agent"
	"crossfade.dev/test/cluster/internal/controlplane"
	"crossfade.dev/test/cluster/internal/images"
	"crossfade.dev/test/cluster/internal/loadbalancer"
	"crossfade.dev/test/cluster/internal/namespaces"
	"crossfade.dev/test/cluster/internal/network"
)

// inside is the cluster: it boots, runs the command or waits, and ends. The
// namespace's first process ends with it, and with that everything else.
func inside(encoded string) error {
	begin := time.Now()
	var o options
	if err := json.Unmarshal([]byte(encoded), &o); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	defer stop()
	logger, err := newLogger(o)
	if err != nil {
		return err
	}
	if err := network.SetUpNode(); err != nil {
		return err
	}
	boot, cancel := context.WithTimeout(ctx, o.BootTimeout)
	defer cancel()
	plane, err := controlplane.Start(boot, controlplane.Config{
		Folder: o.Dir, Hyper: o.hyper(), EmulatedVersion: o.EmulatedVersion, APIServerFlags: o.APIServerFlags, Logger: logger,
	})
	if err != nil {
		return err
	}
	defer plane.Stop()
	failed, err := startAgents(ctx, boot, o, plane, logger)
	if err != nil {
		return err
	}
	if err := plane.StartProxy(boot); err != nil {
		return err
	}
	if err := o.applyCRDs(boot); err != nil {
		return err
	}
	took := time.Since(begin).Round(10 * time.Millisecond)
	if len(o.Command) > 0 {
		logger.Info("cluster is ready", "after", took)
		return o.run(ctx, failed)
	}
	o.explain(took)
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// newLogger writes everything to DIR/up.log, and with -v to stderr as well.
// The clients' own log goes the same way: the command's stderr stays clean.
func newLogger(o options) (*slog.Logger, error) {
	f, err := os.Create(filepath.Join(o.Dir, "up.log"))
	if err != nil {
		return nil, err
	}
	handler := slog.Handler(slog.NewTextHandler(f, nil))
	if o.Verbose {
		handler = slog.NewMultiHandler(handler, slog.NewTextHandler(os.Stderr, nil))
	}
	logger := slog.New(handler)
	klog.SetSlogLogger(logger)
	return logger, nil
}

// startAgents starts what acts in the kubelet's, the scheduler's and the cloud's
// place. The channel tells of the first part of the cluster that fails.
func startAgents(ctx, boot context.Context, o options, plane *controlplane.Plane, logger *slog.Logger) (<-chan error, error) {
	client, err := plane.Client("agent")
	if err != nil {
		return nil, err
	}
	table, err := images.Load(o.Images, o.Bin)
	if err != nil {
		return nil, err
	}
	file := func(name string) string { return filepath.Join(o.Dir, name) }
	node := agent.New(agent.Config{
		Client: client, Images: table, Folder: file("pods"),
		CertFile: file("agent.crt"), KeyFile: file("agent.key"), CAFile: file("ca.crt"),
		MaxProbeDelay: o.MaxProbeDelay, Logger: logger,
	})
	balancer := &loadbalancer.Controller{
		Client: client, Pool: loadbalancer.NewPool(netip.MustParsePrefix(network.BalancerRange)), Route: network.RouteToNode, Logger: logger,
	}
	failed := make(chan error, 3)
	ready := make(chan struct{})
	go func() { failed <- node.Run(ctx, ready) }()
	go func() { failed <- balancer.Run(ctx) }()
	go func() {
		select {
		case err := <-plane.Failed():
			failed <- err
		case <-ctx.Done():
		}
	}()
	select {
	case <-ready:
		return failed, nil
	case err := <-failed:
		return nil, err
	case <-boot.Done():
		return nil, fmt.Errorf("start the node agent: %w", boot.Err())
	}
}

// environment is that of commands in the cluster: kubectl is on the PATH.
func environment(dir string) ([]string, error) {
	bin := filepath.Join(dir, "bin")
	set := map[string]string{"KUBECONFIG": filepath.Join(dir, "admin.kubeconfig"), "PATH": bin + ":" + os.Getenv("PATH"), "CLUSTER_DIR": dir}
	var env []string
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); set[name] == "" {
			env = append(env, variable)
		}
	}
	for name, value := range set {
		env = append(env, name+"="+value)
	}
	return env, os.MkdirAll(bin, 0o755)
}

func (o *options) kubectl(ctx context.Context, args ...string) error {
	env, err := environment(o.Dir)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, o.hyper(), append([]string{"kubectl"}, args...)...)
	cmd.Env = env
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// applyCRDs applies what --crds names and waits until the API server serves it.
func (o *options) applyCRDs(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Join(o.Dir, "bin"), 0o755); err != nil {
		return err
	}
	if err := os.Symlink(o.hyper(), filepath.Join(o.Dir, "bin", "kubectl")); err != nil {
		return err
	}
	if len(o.CRDs) == 0 {
		return nil
	}
	args := []string{"apply", "--server-side"}
	for _, path := range o.CRDs {
		args = append(args, "-f", path)
	}
	if err := o.kubectl(ctx, args...); err != nil {
		return err
	}
	return o.kubectl(ctx, "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
}

// run runs the command; its exit code becomes ours. A signal for us is one for
// the command, which then has ten seconds.
func (o *options) run(ctx context.Context, failed <-chan error) error {
	env, err := environment(o.Dir)
	if err != nil {
		return err
	}
	if err := os.Setenv("PATH", filepath.Join(o.Dir, "bin")+":"+os.Getenv("PATH")); err != nil {
		return err // the command itself may be kubectl
	}
	commandCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(commandCtx, o.Command[0], o.Command[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = env
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
	case failure := <-failed:
		cancel()
		<-ended
		if ctx.Err() == nil {
			return failure
		}
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exitCode(namespaces.ExitCode(exit.Sys().(syscall.WaitStatus)))
	}
	return err
}

func (o *options) explain(took time.Duration) {
	fmt.Printf(`The cluster is ready after %s. It ends with this program (Ctrl-C).
  kubeconfig  %s/admin.kubeconfig  (works inside only)
  enter       %s enter --dir %s
  logs        %s/*.log
`, took, o.Dir, filepath.Join(o.Bin[len(o.Bin)-1], "up"), o.Dir, o.Dir)
}
