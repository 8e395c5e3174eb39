// Package agent is the kubelet's and the scheduler's place in a test cluster:
// it registers one node, binds pods to it and runs their containers as local
// programs.
//
//  1. The informer of pods calls sync for each version of each pod.
//  2. A pod without a node is bound; a new pod of this node gets a worker.
//  3. The worker makes the network, fills volumes, runs init containers and
//     then one supervisor per container, which starts, probes, restarts and
//     in the end stops it.
//  4. Whatever changes is folded into one status and written by one goroutine
//     per pod.
package agent

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedv1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"crossfade.dev/test/cluster/internal/images"
	"crossfade.dev/test/cluster/internal/network"
)

// NodeName is the name of the only node.
const NodeName = "node"

// Config is what an agent needs.
type Config struct {
	Client kubernetes.Interface
	Images images.Table
	Folder string // of the pods' volumes, logs and scratch space
	// Certificate, key and authority of the kubelet API, PEM files.
	CertFile, KeyFile, CAFile string
	// MaxProbeDelay caps initialDelaySeconds of probes; negative leaves them.
	MaxProbeDelay time.Duration
	Logger        *slog.Logger
}

// Agent runs the pods of the node.
type Agent struct {
	Config
	addresses *network.Addresses
	events    record.EventRecorder

	mu   sync.Mutex
	pods map[types.UID]*worker
}

// New returns an agent that does nothing until Run.
func New(cfg Config) *Agent {
	return &Agent{Config: cfg, addresses: network.NewAddresses(), pods: map[types.UID]*worker{}}
}

// Run registers the node, closes ready, and runs pods until ctx ends. It does
// not stop the pods then: the namespace they live in goes away as a whole.
func (a *Agent) Run(ctx context.Context, ready chan<- struct{}) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	broadcaster.StartRecordingToSink(&typedv1.EventSinkImpl{Interface: a.Client.CoreV1().Events("")})
	defer broadcaster.Shutdown()
	a.events = broadcaster.NewRecorder(scheme.Scheme, v1.EventSource{Component: "kubelet", Host: NodeName})

	failed := make(chan error, 1)
	go func() { failed <- a.serveAPI(ctx) }()
	if err := a.register(ctx); err != nil {
		return fmt.Errorf("register the node: %w", err)
	}
	factory := informers.NewSharedInformerFactory(a.Client, 0)
	pods := factory.Core().V1().Pods().Informer()
	_, err := pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { a.sync(ctx, o.(*v1.Pod)) },
		UpdateFunc: func(_, o any) { a.sync(ctx, o.(*v1.Pod)) },
		DeleteFunc: a.deleted,
	})
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	cache.WaitForCacheSync(ctx.Done(), pods.HasSynced)
	close(ready)
	select {
	case <-ctx.Done():
		return nil
	case err := <-failed:
		return err
	}
}

// sync is called for each version of each pod, one at a time.
func (a *Agent) sync(ctx context.Context, pod *v1.Pod) {
	switch {
	case pod.Spec.NodeName == "":
		if pod.DeletionTimestamp == nil && len(pod.Spec.SchedulingGates) == 0 && pod.Spec.SchedulerName == v1.DefaultSchedulerName {
			go a.bind(ctx, pod)
		}
		return
	case pod.Spec.NodeName != NodeName:
		return
	}
	w := a.worker(ctx, pod)
	w.update(pod)
	if pod.DeletionTimestamp != nil {
		w.terminate(pod.DeletionGracePeriodSeconds)
	}
}

// deleted sees pods whose object is gone. Usually their worker deleted it
// itself; after a forced deletion the processes still run.
func (a *Agent) deleted(o any) {
	if tombstone, ok := o.(cache.DeletedFinalStateUnknown); ok {
		o = tombstone.Obj
	}
	pod, ok := o.(*v1.Pod)
	if !ok {
		return
	}
	a.mu.Lock()
	w := a.pods[pod.UID]
	a.mu.Unlock()
	if w != nil {
		w.terminate(new(int64))
	}
}

func (a *Agent) worker(ctx context.Context, pod *v1.Pod) *worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.pods[pod.UID]; w != nil {
		return w
	}
	w := newWorker(a, pod)
	a.pods[pod.UID] = w
	go func() {
		w.run(ctx)
		a.mu.Lock()
		delete(a.pods, pod.UID)
		a.mu.Unlock()
	}()
	return w
}

// find returns the worker of a pod by name.
func (a *Agent) find(namespace, name string) *worker {
	a.mu.Lock()
	defer a.mu.Unlock()
	var found *worker
	for _, w := range a.pods {
		// A pod that ends may have a successor of the same name; the younger counts.
		if w.pod.Namespace == namespace && w.pod.Name == name && (found == nil || found.pod.CreationTimestamp.Before(&w.pod.CreationTimestamp)) {
			found = w
		}
	}
	return found
}

// bind puts the pod on the only node there is.
func (a *Agent) bind(ctx context.Context, pod *v1.Pod) {
	binding := &v1.Binding{
		ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Namespace: pod.Namespace, UID: pod.UID},
		Target:     v1.ObjectReference{Kind: "Node", Name: NodeName},
	}
	err := a.Client.CoreV1().Pods(pod.Namespace).Bind(ctx, binding, metav1.CreateOptions{})
	// A conflict means that it is bound already: two versions came at once.
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		a.Logger.Error("bind", "pod", pod.Namespace+"/"+pod.Name, "error", err)
	}
}
