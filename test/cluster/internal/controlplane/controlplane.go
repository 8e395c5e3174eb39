// Package controlplane starts the Kubernetes programs of a cluster, from the
// one binary that holds them all, and waits until they serve.
package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"crossfade.dev/test/cluster/internal/network"
	"crossfade.dev/test/cluster/internal/pki"
)

const (
	etcdAddress = "127.0.0.1:2379"
	apiServer   = "https://" + network.NodeIP + ":6443"
)

// Config says what to start and where.
type Config struct {
	Folder          string // of certificates, kubeconfigs, logs and etcd's data
	Hyper           string // the multi-call binary
	EmulatedVersion string // such as "1.34"; empty for the binary's own
	APIServerFlags  []string
	Logger          *slog.Logger
}

// Plane is a control plane that runs.
type Plane struct {
	Config
	started time.Time
	failed  chan error // the first component that ended by itself

	mu        sync.Mutex
	processes []process
	stopping  bool
}

type process struct {
	name string
	args []string
	cmd  *exec.Cmd
	done chan struct{}
}

// Start returns once the API server is ready and the controllers work. On an error everything is stopped and the end of the
// guilty program's log is part of the message.
func Start(ctx context.Context, cfg Config) (*Plane, error) {
	p := &Plane{Config: cfg, started: time.Now(), failed: make(chan error, 1)}
	if err := p.boot(ctx); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

func (p *Plane) boot(ctx context.Context) error {
	if err := certificates(p.Folder); err != nil {
		return err
	}
	admin, err := p.Client("admin")
	if err != nil {
		return err
	}
	// The API server retries until etcd is there: both load at once.
	for _, c := range []struct {
		name string
		args []string
	}{
		{"etcd", []string{filepath.Join(p.Folder, "etcd"), etcdAddress}},
		{"apiserver", p.apiserverArgs()},
	} {
		if err := p.spawn(c.name, c.args); err != nil {
			return err
		}
	}
	if err := p.await(ctx, "the API server to be ready", func(ctx context.Context) error { return get(ctx, admin, "/readyz") }); err != nil {
		return err
	}
	// Only now: it gives the API server ten seconds to be healthy, which on a busy
	// machine it takes to make its roles alone, and then gives up.
	if err := p.spawn("controller-manager", p.controllerArgs()); err != nil {
		return err
	}
	// Pods are refused before their service account exists.
	return p.await(ctx, "the default service account", func(ctx context.Context) error {
		_, err := admin.CoreV1().ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// StartProxy starts kube-proxy and returns when cluster addresses answer: it
// asks the API server by its own, which only kube-proxy's rules make reachable.
// The node must be registered; kube-proxy would wait for it and then want to be
// restarted because its addresses changed.
func (p *Plane) StartProxy(ctx context.Context) error {
	if err := p.writeProxyConfig(); err != nil {
		return err
	}
	if err := p.spawn("proxy", []string{"--config=" + filepath.Join(p.Folder, "proxy.yaml")}); err != nil {
		return err
	}
	cfg, err := p.RESTConfig("admin")
	if err != nil {
		return err
	}
	cfg.Host = "https://" + network.KubernetesIP + ":443"
	client, err := kubernetes.NewForConfig(cfg)
	if err != nil {
		return err
	}
	return p.await(ctx, "kube-proxy to open "+network.KubernetesIP, func(ctx context.Context) error { return get(ctx, client, "/livez/ping") })
}

func get(ctx context.Context, c kubernetes.Interface, path string) error {
	return c.Discovery().RESTClient().Get().AbsPath(path).Do(ctx).Error()
}

// await polls until try succeeds, a component ends or ctx does.
func (p *Plane) await(ctx context.Context, what string, try func(context.Context) error) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		err := try(attempt)
		cancel()
		if err == nil {
			p.Logger.Info("done waiting for "+what, "after", time.Since(p.started).Round(10*time.Millisecond))
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for %s: %w (last: %w)", what, ctx.Err(), err)
		case failure := <-p.failed:
			return fmt.Errorf("wait for %s: %w", what, failure)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// RESTConfig is how USER, one of those with a kubeconfig, reaches the API.
func (p *Plane) RESTConfig(user string) (*rest.Config, error) {
	cfg, err := clientcmd.BuildConfigFromFlags("", p.Kubeconfig(user))
	if err != nil {
		return nil, err
	}
	cfg.QPS, cfg.Burst = 1000, 2000
	cfg.ContentType = "application/vnd.kubernetes.protobuf"
	cfg.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	return cfg, nil
}

// Client is a client of the API as that user.
func (p *Plane) Client(user string) (kubernetes.Interface, error) {
	cfg, err := p.RESTConfig(user)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(cfg)
}

// Kubeconfig is the path of a user's file.
func (p *Plane) Kubeconfig(user string) string {
	return filepath.Join(p.Folder, user+".kubeconfig")
}

// Failed reports the first component that ends by itself.
func (p *Plane) Failed() <-chan error { return p.failed }

// spawn starts a program; its process id is in Folder/NAME.pid. The log goes on
// where an earlier one of that name ended.
func (p *Plane) spawn(name string, args []string) error {
	log, err := os.OpenFile(filepath.Join(p.Folder, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the child has its own descriptor
	cmd := exec.Command(p.Hyper, append([]string{name}, args...)...)
	cmd.Stdout, cmd.Stderr = log, log
	// kube-proxy calls nft, which lies where not every PATH leads.
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	// A Ctrl-C at the terminal is for us; we then stop the programs in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	proc := process{name: name, args: args, cmd: cmd, done: make(chan struct{})}
	p.mu.Lock()
	p.processes = append(p.processes, proc)
	p.mu.Unlock()
	go p.watch(proc, log.Name())
	return os.WriteFile(filepath.Join(p.Folder, name+".pid"), []byte(strconv.Itoa(cmd.Process.Pid)), 0o644)
}

func (p *Plane) watch(proc process, log string) {
	err := proc.cmd.Wait()
	close(proc.done)
	p.mu.Lock()
	stopping := p.stopping
	p.mu.Unlock()
	if stopping {
		return
	}
	if p.held(proc.name) {
		err = p.spawn(proc.name, proc.args)
		if err == nil {
			return
		}
	}
	select {
	case p.failed <- fmt.Errorf("%s ended (%v); the end of %s:\n%s", proc.name, err, log, tail(log)):
	default:
	}
}

// held waits for as long as Folder/NAME.hold exists, with which a test says that
// it ended the program on purpose. It reports whether the program is to be started
// again.
func (p *Plane) held(name string) bool {
	hold := filepath.Join(p.Folder, name+".hold")
	for seen := false; ; seen = true {
		if _, err := os.Stat(hold); err != nil {
			return seen && errors.Is(err, os.ErrNotExist)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// tail returns the last 2 KiB of a file.
func tail(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		_, _ = f.Seek(max(0, size-2048), io.SeekStart)
	}
	text, err := io.ReadAll(f)
	return string(text) + errText(err)
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// Stop ends the programs, last started first, and waits for them; one that
// does not go within two seconds is killed: nothing it holds is kept.
func (p *Plane) Stop() {
	p.mu.Lock()
	p.stopping = true
	processes := p.processes
	p.mu.Unlock()
	for i := len(processes) - 1; i >= 0; i-- {
		proc := processes[i]
		if err := proc.cmd.Process.Signal(syscall.SIGTERM); errors.Is(err, os.ErrProcessDone) {
			continue
		}
		select {
		case <-proc.done:
		case <-time.After(2 * time.Second):
			_ = proc.cmd.Process.Kill()
			<-proc.done
		}
	}
}

// certificates writes every key, certificate and kubeconfig.
func certificates(folder string) error {
	ca, err := pki.New(folder)
	if err != nil {
		return err
	}
	masters := []string{"system:masters"}
	for name, id := range map[string]pki.Identity{
		"apiserver": {CommonName: "kube-apiserver", IPs: []string{network.NodeIP, network.KubernetesIP, "127.0.0.1"},
			Names: []string{"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local", "localhost"}},
		"apiserver-kubelet":  {CommonName: "kube-apiserver-kubelet", Organizations: masters},
		"admin":              {CommonName: "admin", Organizations: masters},
		"controller-manager": {CommonName: "system:kube-controller-manager"},
		"proxy":              {CommonName: "system:kube-proxy"},
		"agent":              {CommonName: "agent", Organizations: masters, IPs: []string{network.NodeIP}},
	} {
		if err := ca.Issue(name, id); err != nil {
			return err
		}
	}
	for _, user := range []string{"admin", "controller-manager", "proxy", "agent"} {
		if err := ca.Kubeconfig(user, apiServer); err != nil {
			return err
		}
	}
	return ca.KeyPair("service-accounts")
}
