package agent

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"

	"crossfade.dev/test/cluster/internal/container"
	"crossfade.dev/test/cluster/internal/probe"
)

// afterStart runs the postStart hook and the probes of one run of a container;
// ctx ends with it. started is called when it counts as started.
func (w *worker) afterStart(ctx context.Context, c *containerState, target probe.Target, started func()) {
	process := c.process
	if l := c.spec.Lifecycle; l != nil && l.PostStart != nil {
		if err := target.Handle(ctx, l.PostStart); err != nil && ctx.Err() == nil {
			w.warn("FailedPostStartHook", err)
			w.restart(process)
			return
		}
	}
	if p := c.spec.StartupProbe; p != nil && !w.waitStarted(ctx, c, p, target) {
		return
	}
	started()
	if p := c.spec.ReadinessProbe; p != nil {
		go w.run1(ctx, probe.Readiness, p, target, func(v probe.Verdict, err error) bool {
			if v != probe.Undecided {
				w.setReady(c, process, v == probe.Good, err)
			}
			return true
		})
	}
	if p := c.spec.LivenessProbe; p != nil {
		go w.run1(ctx, probe.Liveness, p, target, func(v probe.Verdict, err error) bool {
			if v != probe.Bad || w.isEnding() {
				return !w.isEnding()
			}
			w.warn("Unhealthy", fmt.Errorf("liveness probe of %s failed: %w", c.spec.Name, err))
			w.restart(process)
			return false
		})
	}
}

// waitStarted reports whether the startup probe succeeded.
func (w *worker) waitStarted(ctx context.Context, c *containerState, p *v1.Probe, target probe.Target) bool {
	ok, process := false, c.process
	w.run1(ctx, probe.Startup, p, target, func(v probe.Verdict, err error) bool {
		if v == probe.Bad {
			w.warn("Unhealthy", fmt.Errorf("startup probe of %s failed: %w", c.spec.Name, err))
			w.restart(process)
		}
		ok = v == probe.Good
		return v == probe.Undecided && !w.isEnding()
	})
	if ok {
		w.mu.Lock()
		c.started = true
		c.ready = c.spec.ReadinessProbe == nil
		w.mu.Unlock()
		w.touch()
	}
	return ok
}

func (w *worker) run1(ctx context.Context, kind probe.Kind, p *v1.Probe, target probe.Target, report func(probe.Verdict, error) bool) {
	attempt := func(ctx context.Context) error { return target.Attempt(ctx, p) }
	probe.Run(ctx, kind, p, w.agent.probeDelay(p), attempt, report)
}

func (a *Agent) probeDelay(p *v1.Probe) time.Duration {
	delay := time.Duration(p.InitialDelaySeconds) * time.Second
	if a.MaxProbeDelay >= 0 {
		delay = min(delay, a.MaxProbeDelay)
	}
	return delay
}

// setReady ignores verdicts about a run that is over.
func (w *worker) setReady(c *containerState, process *container.Process, ready bool, err error) {
	w.mu.Lock()
	change := c.process == process && c.ready != ready && c.state.Running != nil
	if change {
		c.ready = ready
	}
	w.mu.Unlock()
	if !change {
		return
	}
	w.touch()
	if !ready {
		w.warn("Unhealthy", fmt.Errorf("readiness probe of %s failed: %w", c.spec.Name, err))
	}
}

// restart ends a run that its probe or hook condemned; the supervisor starts
// the next one.
func (w *worker) restart(process *container.Process) {
	grace := 30 * time.Second
	if s := w.pod.Spec.TerminationGracePeriodSeconds; s != nil {
		grace = time.Duration(*s) * time.Second
	}
	process.Terminate()
	w.killAfter(process, grace)
}
