package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"

	"crossfade.dev/internal/sim"
	"crossfade.dev/internal/translate"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// fleet runs one simulated model server for each pod that has no address and
// whose container starts a model server that sim can imitate. It is used from one
// goroutine.
type fleet struct {
	options sim.Options
	log     *slog.Logger
	servers map[string]*simulated // by pod namespace/name and command
	running sync.WaitGroup
}

// simulated is one running simulated model server.
type simulated struct {
	config  sim.Config
	server  *sim.Server
	faults  string // the annotation that was carried out last
	address string
	stop    context.CancelFunc
}

func newFleet(o sim.Options, log *slog.Logger) *fleet {
	return &fleet{options: o, log: log, servers: map[string]*simulated{}}
}

// apply brings the fleet in line with the pods of in and returns a copy of in
// whose simulated pods have addresses and models. Servers whose pod is gone stop
// when their running requests have finished.
func (f *fleet) apply(ctx context.Context, in *translate.Resources) (*translate.Resources, []translate.Problem) {
	var problems []translate.Problem
	wanted := map[string]bool{}
	out := withSimulations(in, func(pod *corev1.Pod, cfg sim.Config) (string, error) {
		key := simulationKey(pod, cfg)
		wanted[key] = true
		s, err := f.ensure(ctx, key, pod, cfg)
		if err != nil {
			problems = append(problems, podProblem(pod, err))
			return "", err
		}
		if err := s.misbehave(pod); err != nil {
			problems = append(problems, faultsProblem(pod, err))
		}
		return s.address, nil
	})
	for key, s := range f.servers {
		if !wanted[key] {
			s.stop()
			delete(f.servers, key)
		}
	}
	return out, problems
}

// simulationKey changes whenever a running simulation no longer imitates what
// the pod's container would run.
func simulationKey(pod *corev1.Pod, cfg sim.Config) string {
	return fmt.Sprintf("%s/%s %+v", pod.Namespace, pod.Name, cfg)
}

func (f *fleet) ensure(ctx context.Context, key string, pod *corev1.Pod, cfg sim.Config) (*simulated, error) {
	if s := f.servers[key]; s != nil {
		return s, nil
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listen for a simulated model server: %w", err)
	}
	o := f.options
	o.Name = pod.Namespace + "/" + pod.Name
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &simulated{config: cfg, server: sim.New(cfg, o), address: listener.Addr().String(), stop: stop}
	f.running.Go(func() {
		if err := s.server.Serve(ctx, listener); err != nil {
			f.log.Error("simulated model server ended", "pod", o.Name, "error", err)
		}
	})
	f.servers[key] = s
	return s, nil
}

// simulates returns what the server at address imitates, "" for none of ours.
func (f *fleet) simulates(address string) string {
	for _, s := range f.servers {
		if s.address == address {
			return s.config.Speaker()
		}
	}
	return ""
}

// close stops every server and waits for their requests to finish.
func (f *fleet) close() {
	for _, s := range f.servers {
		s.stop()
	}
	f.running.Wait()
}

// withSimulations returns a copy of in in which every pod that can be simulated
// has the address that place gives it; the endpoint's models are known from its
// command line. Pods that place refuses stay without an address.
func withSimulations(in *translate.Resources, place func(*corev1.Pod, sim.Config) (string, error)) *translate.Resources {
	out := *in
	out.Pods = slices.Clone(in.Pods)
	out.Models = map[string][]string{}
	for address, models := range in.Models {
		out.Models[address] = models
	}
	for i, pod := range in.Pods {
		cfg, ok := simulation(pod)
		if !ok {
			continue
		}
		address, err := place(pod, cfg)
		if err != nil {
			continue
		}
		out.Pods[i] = withAddress(pod, address)
		if _, reported := out.Models[address]; !reported {
			out.Models[address] = cfg.Models()
		}
	}
	return &out
}

// simulation returns how to imitate the pod: its first container that runs a
// model server. Pods with an address are real.
func simulation(pod *corev1.Pod) (sim.Config, bool) {
	if pod.Status.PodIP != "" || pod.Annotations[translate.AddressAnnotation] != "" {
		return sim.Config{}, false
	}
	for _, c := range pod.Spec.Containers {
		if cfg, ok, err := sim.ParseCommand(c.Command, c.Args); err == nil && ok {
			return cfg, true
		}
	}
	return sim.Config{}, false
}

// withAddress returns a ready copy of pod that listens at address.
func withAddress(pod *corev1.Pod, address string) *corev1.Pod {
	p := pod.DeepCopy()
	metav1.SetMetaDataAnnotation(&p.ObjectMeta, translate.AddressAnnotation, address)
	return p
}

// unsimulatedProblems warns of pods that are neither real nor imitable.
func unsimulatedProblems(in *translate.Resources) []translate.Problem {
	var out []translate.Problem
	for _, pod := range in.Pods {
		if pod.Status.PodIP != "" || pod.Annotations[translate.AddressAnnotation] != "" {
			continue
		}
		if err := unsimulated(pod); err != nil {
			out = append(out, podProblem(pod, err))
		}
	}
	return out
}

// unsimulated says why a pod without an address cannot be simulated, or nil.
func unsimulated(pod *corev1.Pod) error {
	var images []string
	for _, c := range pod.Spec.Containers {
		_, ok, err := sim.ParseCommand(c.Command, c.Args)
		if err != nil {
			return fmt.Errorf("container %s: %w", c.Name, err)
		}
		if ok {
			return nil
		}
		images = append(images, c.Image)
	}
	return fmt.Errorf("it has no address, and no container runs a model server that can be simulated (%s)", strings.Join(images, ", "))
}

func podProblem(pod *corev1.Pod, err error) translate.Problem {
	return translate.Problem{
		Severity: translate.Warning,
		Ref:      translate.ObjectRef{Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name},
		Message:  err.Error(),
		Remedy:   "set the annotation " + translate.AddressAnnotation + ": \"host:port\" to where it listens",
	}
}
