package agent

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"crossfade.dev/test/cluster/internal/container"
	"crossfade.dev/test/cluster/internal/network"
	"crossfade.dev/test/cluster/internal/volumes"
)

// worker runs one pod from its binding to the deletion of its object.
type worker struct {
	agent   *Agent
	pod     *v1.Pod // as first seen; its spec does not change
	folder  string
	ip      string
	sandbox *network.Sandbox // nil for the node's own network
	started metav1.Time

	ending  chan struct{} // closed when the pod shall go
	force   chan struct{} // closed when it shall go at once
	changed chan struct{} // has one element when the status should be written

	mu          sync.Mutex
	latest      *v1.Pod
	grace       time.Duration
	forced      bool
	initialized bool
	inits       []*containerState
	mains       []*containerState
}

// containerState is guarded by its worker's mu.
type containerState struct {
	spec     v1.Container
	kind     containerKind
	state    v1.ContainerState
	last     v1.ContainerState
	ready    bool
	started  bool
	restarts int32
	process  *container.Process
	logs     []*logFile // of every run, oldest first
}

// containerKind says when a container is started and ended.
type containerKind int

// Init containers run one after the other, sidecars from their turn until all
// main containers have ended.
const (
	mainContainer containerKind = iota
	initContainer
	sidecar
)

func newWorker(a *Agent, pod *v1.Pod) *worker {
	w := &worker{
		agent: a, pod: pod, latest: pod, folder: filepath.Join(a.Folder, string(pod.UID)), ip: network.NodeIP, started: metav1.Now(),
		ending: make(chan struct{}), force: make(chan struct{}), changed: make(chan struct{}, 1),
	}
	for _, c := range pod.Spec.InitContainers {
		kind := initContainer
		if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			kind = sidecar
		}
		w.inits = append(w.inits, &containerState{spec: c, kind: kind, state: waiting("PodInitializing", "")})
	}
	reason := "ContainerCreating"
	if len(w.inits) > 0 {
		reason = "PodInitializing"
	}
	for _, c := range pod.Spec.Containers {
		w.mains = append(w.mains, &containerState{spec: c, state: waiting(reason, "")})
	}
	return w
}

func waiting(reason, message string) v1.ContainerState {
	return v1.ContainerState{Waiting: &v1.ContainerStateWaiting{Reason: reason, Message: message}}
}

// update keeps the newest version; readiness gates are conditions in it.
func (w *worker) update(pod *v1.Pod) {
	w.mu.Lock()
	w.latest = pod
	w.mu.Unlock()
	if len(pod.Spec.ReadinessGates) > 0 {
		w.touch()
	}
}

// touch asks for the status to be written.
func (w *worker) touch() {
	select {
	case w.changed <- struct{}{}:
	default:
	}
}

// terminate starts the pod's end; a grace of 0 forces it.
func (w *worker) terminate(graceSeconds *int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	grace := 30 * time.Second
	if graceSeconds != nil {
		grace = time.Duration(*graceSeconds) * time.Second
	}
	if grace == 0 && !w.forced {
		w.forced = true
		close(w.force)
	}
	if !w.isEnding() {
		w.grace = grace
		close(w.ending)
	}
}

func (w *worker) isEnding() bool {
	select {
	case <-w.ending:
		return true
	default:
		return false
	}
}

// run is the pod's whole life.
func (w *worker) run(ctx context.Context) {
	statusCtx, stopStatus := context.WithCancel(ctx)
	var status sync.WaitGroup
	if w.setUp(ctx) {
		status.Go(func() { w.writeStatuses(statusCtx) })
		w.touch()
		w.runContainers(ctx)
	}
	<-w.ending
	stopStatus()
	status.Wait()
	w.leave(ctx)
}

// setUp makes the network; it retries until it works or the pod goes.
func (w *worker) setUp(ctx context.Context) bool {
	if w.pod.Spec.HostNetwork {
		return true
	}
	return w.retry(ctx, "FailedCreatePodSandBox", func() error {
		ip, err := w.agent.addresses.Take()
		if err != nil {
			return err
		}
		if w.sandbox, err = network.NewSandbox(ip); err != nil {
			w.agent.addresses.Release(ip)
			return err
		}
		w.ip = ip
		return nil
	})
}

// runContainers returns when no container runs or will run again.
func (w *worker) runContainers(ctx context.Context) {
	if !w.fillVolumes(ctx) {
		return
	}
	mainsGone := make(chan struct{})
	var sidecars, mains sync.WaitGroup
	defer sidecars.Wait()
	defer close(mainsGone)
	for _, c := range w.inits {
		if c.kind == sidecar {
			up := make(chan struct{})
			sidecars.Go(func() { w.supervise(ctx, c, mainsGone, up) })
			select {
			case <-up:
			case <-w.ending:
				return
			}
		} else if !w.runInit(ctx, c) {
			return
		}
	}
	w.mu.Lock()
	w.initialized = true
	w.mu.Unlock()
	w.touch()
	for _, c := range w.mains {
		mains.Go(func() { w.supervise(ctx, c, w.ending, make(chan struct{})) })
	}
	mains.Wait()
}

// fillVolumes waits for objects that do not exist yet, as the kubelet does, and
// keeps the tokens fresh afterwards.
func (w *worker) fillVolumes(ctx context.Context) bool {
	for _, v := range w.pod.Spec.Volumes {
		var renew time.Time
		ok := w.retry(ctx, "FailedMount", func() (err error) {
			renew, err = w.filler().Fill(ctx, v, w.volume(v.Name))
			return err
		})
		if !ok {
			return false
		}
		if !renew.IsZero() {
			go w.renewVolume(ctx, v, renew)
		}
	}
	return true
}

func (w *worker) renewVolume(ctx context.Context, v v1.Volume, at time.Time) {
	for {
		timer := time.NewTimer(time.Until(at))
		select {
		case <-ctx.Done():
		case <-w.ending:
		case <-timer.C:
			next, err := w.filler().Fill(ctx, v, w.volume(v.Name))
			if err != nil {
				w.warn("FailedMount", err)
				next = time.Now().Add(10 * time.Second)
			}
			at = next
			continue
		}
		timer.Stop()
		return
	}
}

// retry calls try until it succeeds (true) or the pod goes (false). The first
// error becomes an event.
func (w *worker) retry(ctx context.Context, reason string, try func() error) bool {
	for said := false; ; {
		err := try()
		if err == nil {
			return true
		}
		if !said {
			w.warn(reason, err)
			said = true
		}
		if !w.pause(ctx, 250*time.Millisecond, w.ending) {
			return false
		}
	}
}

// pause reports false when the pause was cut short by ctx or stop.
func (w *worker) pause(ctx context.Context, d time.Duration, stop <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-stop:
		return false
	case <-timer.C:
		return true
	}
}

func (w *worker) warn(reason string, err error) {
	w.agent.events.Event(w.pod, v1.EventTypeWarning, reason, err.Error())
	w.agent.Logger.Warn(reason, "pod", w.pod.Namespace+"/"+w.pod.Name, "error", err)
}

func (w *worker) volume(name string) string { return filepath.Join(w.folder, "volumes", name) }

// filler sees the pod with the addresses it has, written to its status or not.
func (w *worker) filler() volumes.Filler {
	w.mu.Lock()
	pod := w.latest.DeepCopy()
	w.mu.Unlock()
	pod.Status.PodIP, pod.Status.PodIPs = w.ip, []v1.PodIP{{IP: w.ip}}
	pod.Status.HostIP, pod.Status.HostIPs = network.NodeIP, []v1.HostIP{{IP: network.NodeIP}}
	return volumes.Filler{Objects: objects{w.agent.Client}, Pod: pod}
}

// log returns the log of a container's present or previous run.
func (w *worker) log(name string, previous bool) (*logFile, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range append(append([]*containerState{}, w.inits...), w.mains...) {
		if c.spec.Name != name {
			continue
		}
		n := len(c.logs)
		if previous {
			n--
		}
		if n < 1 {
			return nil, fmt.Errorf("container %q in pod %q has no such log: it is waiting to start, or has not been restarted", name, w.pod.Name)
		}
		return c.logs[n-1], nil
	}
	return nil, fmt.Errorf("pod %q has no container %q", w.pod.Name, name)
}

func (w *worker) newLog(c *containerState) (*logFile, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	log, err := newLogFile(filepath.Join(w.folder, "logs", c.spec.Name, strconv.Itoa(len(c.logs))+".log"))
	if err != nil {
		return nil, err
	}
	c.logs = append(c.logs, log)
	return log, nil
}

// leave writes the final status, takes the network away and lets the object go.
func (w *worker) leave(ctx context.Context) {
	w.writeStatus(ctx)
	if w.sandbox != nil {
		if err := w.sandbox.Close(); err != nil {
			w.agent.Logger.Warn("close the network", "pod", w.pod.Name, "error", err)
		}
		w.agent.addresses.Release(w.ip)
	}
	uid := w.pod.UID
	err := w.agent.Client.CoreV1().Pods(w.pod.Namespace).Delete(ctx, w.pod.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64), Preconditions: &metav1.Preconditions{UID: &uid},
	})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) && ctx.Err() == nil {
		w.agent.Logger.Error("delete the pod's object", "pod", w.pod.Namespace+"/"+w.pod.Name, "error", err)
	}
	if err := os.RemoveAll(w.folder); err != nil {
		w.agent.Logger.Warn("remove the pod's folder", "pod", w.pod.Name, "error", err)
	}
}
