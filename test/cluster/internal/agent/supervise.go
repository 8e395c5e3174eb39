package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"crossfade.dev/test/cluster/internal/container"
	"crossfade.dev/test/cluster/internal/probe"
)

// startError is why a container could not be started; its reason is the one
// that Kubernetes shows.
type startError struct {
	reason string
	err    error
}

func (e *startError) Error() string { return e.err.Error() }

// supervise keeps a container running until stop is closed or its restart
// policy is satisfied. up is closed when it has started for the first time.
func (w *worker) supervise(ctx context.Context, c *containerState, stop <-chan struct{}, up chan struct{}) {
	var back backoff
	first := true
	started := func() {
		if first {
			first = false
			close(up)
		}
	}
	for {
		began := time.Now()
		reason := "CrashLoopBackOff"
		if err := w.start(ctx, c); err != nil {
			w.cannotStart(c, err)
			reason = ""
		} else if w.attend(ctx, c, stop, started); closed(stop) || !w.again(c) {
			return
		}
		delay := back.next(time.Since(began))
		if reason != "" && delay > 0 {
			w.setWaiting(c, reason, fmt.Sprintf("back-off %s restarting failed container=%s pod=%s", delay, c.spec.Name, w.pod.Name))
		}
		if !w.pause(ctx, delay, stop) {
			return
		}
	}
}

// backoff is the kubelet's, with 1 s and 30 s where it has 10 s and 5 min.
type backoff struct{ delay time.Duration }

// next returns how long to wait after a run of the given length: nothing the
// first time, or after a minute without trouble.
func (b *backoff) next(ran time.Duration) time.Duration {
	if ran > time.Minute {
		b.delay = 0
	}
	now := b.delay
	b.delay = min(max(2*b.delay, time.Second), 30*time.Second)
	return now
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// runInit runs an init container until it succeeds; false means the pod goes,
// or has failed for good.
func (w *worker) runInit(ctx context.Context, c *containerState) bool {
	var back backoff
	for {
		began := time.Now()
		if err := w.start(ctx, c); err != nil {
			w.cannotStart(c, err)
		} else {
			w.attend(ctx, c, w.ending, func() {})
			if code := w.exitCode(c); code == 0 {
				return true
			} else if w.pod.Spec.RestartPolicy == v1.RestartPolicyNever {
				return false
			}
		}
		if !w.pause(ctx, back.next(time.Since(began)), w.ending) {
			return false
		}
	}
}

func (w *worker) exitCode(c *containerState) int32 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := c.state.Terminated; t != nil {
		return t.ExitCode
	}
	return -1
}

// again tells whether a container that ended shall be started once more.
func (w *worker) again(c *containerState) bool {
	if c.kind == sidecar {
		return true
	}
	switch w.pod.Spec.RestartPolicy {
	case v1.RestartPolicyNever:
		return false
	case v1.RestartPolicyOnFailure:
		return w.exitCode(c) != 0
	}
	return true
}

// start starts the container and notes that it runs.
func (w *worker) start(ctx context.Context, c *containerState) error {
	spec, err := w.spec(ctx, c)
	if err != nil {
		return err
	}
	log, err := w.newLog(c)
	if err != nil {
		return err
	}
	stdout, stderr := &logStream{log: log, name: "stdout"}, &logStream{log: log, name: "stderr"}
	process, err := container.Start(spec, w.sandbox, stdout, stderr)
	if err != nil {
		log.end()
		return &startError{"RunContainerError", err}
	}
	go func() {
		<-process.Done()
		stdout.flush()
		stderr.flush()
		log.end()
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	if t := c.state.Terminated; t != nil {
		c.last = c.state
	}
	if c.last.Terminated != nil {
		c.restarts++
	}
	c.process = process
	c.state = v1.ContainerState{Running: &v1.ContainerStateRunning{StartedAt: metav1.Now()}}
	c.started = c.spec.StartupProbe == nil
	c.ready = c.started && c.spec.ReadinessProbe == nil && c.kind != initContainer
	w.touch()
	return nil
}

func (w *worker) cannotStart(c *containerState, err error) {
	reason := "CreateContainerError"
	var known *startError
	if errors.As(err, &known) {
		reason = known.reason
	}
	w.mu.Lock()
	said := c.state.Waiting != nil && c.state.Waiting.Reason == reason
	w.mu.Unlock()
	w.setWaiting(c, reason, err.Error())
	if !said {
		w.warn("Failed", err)
	}
}

func (w *worker) setWaiting(c *containerState, reason, message string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.state.Terminated != nil {
		c.last = c.state
	}
	c.state = waiting(reason, message)
	w.touch()
}

// attend accompanies a container that runs: probes and hooks, until it ends by
// itself or stop asks it to.
func (w *worker) attend(ctx context.Context, c *containerState, stop <-chan struct{}, started func()) {
	process := c.process
	probes, stopProbes := context.WithCancel(ctx)
	defer stopProbes()
	target := w.target(c)
	go w.afterStart(probes, c, target, started)
	select {
	case <-process.Done():
	case <-stop:
		w.end(ctx, c, target)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	running := c.state.Running
	reason := "Completed"
	if process.ExitCode() != 0 {
		reason = "Error"
	}
	c.state = v1.ContainerState{Terminated: &v1.ContainerStateTerminated{
		ExitCode: int32(process.ExitCode()), Reason: reason, StartedAt: running.StartedAt, FinishedAt: metav1.Now(),
	}}
	c.ready, c.started = c.kind == initContainer && process.ExitCode() == 0, false
	w.touch()
}

func (w *worker) target(c *containerState) probe.Target {
	return probe.Target{PodIP: w.ip, Container: &c.spec, Exec: c.process.Exec}
}

// end stops a container as the kubelet does: preStop, SIGTERM, the rest of the
// grace period, SIGKILL. A preStop that takes all of it leaves two seconds.
func (w *worker) end(ctx context.Context, c *containerState, target probe.Target) {
	process := c.process
	w.mu.Lock()
	grace := w.grace
	if !w.isEnding() { // a sidecar whose pod has done its work
		grace = time.Duration(*w.pod.Spec.TerminationGracePeriodSeconds) * time.Second
	}
	w.mu.Unlock()
	until := time.Now().Add(grace)
	if c.spec.Lifecycle != nil && c.spec.Lifecycle.PreStop != nil && grace > 0 {
		hook, cancel := context.WithDeadline(ctx, until)
		go func() {
			select {
			case <-w.force:
			case <-process.Done():
			case <-hook.Done():
			}
			cancel()
		}()
		if err := target.Handle(hook, c.spec.Lifecycle.PreStop); err != nil && !closed(process.Done()) {
			w.warn("FailedPreStopHook", err)
		}
		cancel()
	}
	process.Terminate()
	w.killAfter(process, max(time.Until(until), minimumGrace(grace)))
}

func minimumGrace(grace time.Duration) time.Duration {
	if grace == 0 {
		return 0
	}
	return 2 * time.Second
}

// killAfter waits for the process to end and kills it when grace is over.
func (w *worker) killAfter(process *container.Process, grace time.Duration) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-process.Done():
		return
	case <-w.force:
	case <-timer.C:
	}
	process.Kill()
	<-process.Done()
}
