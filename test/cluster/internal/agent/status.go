package agent

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"crossfade.dev/test/cluster/internal/network"
)

// writeStatuses writes the status after each touch until ctx ends. Touches
// that come during a write are answered by one more.
func (w *worker) writeStatuses(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.changed:
			w.writeStatus(ctx)
		}
	}
}

// writeStatus patches what the agent owns of the status. The identity in the
// patch keeps it from a successor of the same name.
func (w *worker) writeStatus(ctx context.Context) {
	w.mu.Lock()
	status := podStatus(w.view(), metav1.Now())
	w.mu.Unlock()
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": w.pod.UID}, "status": status})
	if err != nil {
		w.agent.Logger.Error("write status", "pod", w.pod.Name, "error", err)
		return
	}
	pods := w.agent.Client.CoreV1().Pods(w.pod.Namespace)
	written, err := pods.Patch(ctx, w.pod.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	switch {
	case err == nil:
		w.mu.Lock()
		// The informer may be behind; the next transition times build on this.
		w.latest.Status.Conditions = written.Status.Conditions
		w.mu.Unlock()
	case apierrors.IsNotFound(err) || apierrors.IsConflict(err) || ctx.Err() != nil:
	default:
		w.agent.Logger.Error("write status", "pod", w.pod.Namespace+"/"+w.pod.Name, "error", err)
		time.AfterFunc(time.Second, w.touch)
	}
}

// view is what a pod's status is made from.
type view struct {
	pod          *v1.Pod // the newest version known
	ip           string
	started      metav1.Time
	ending       bool
	initialized  bool
	inits, mains []*containerState
}

// view needs mu. It copies the pod, whose conditions are then its own.
func (w *worker) view() view {
	w.latest = w.latest.DeepCopy()
	return view{
		pod: w.latest, ip: w.ip, started: w.started, ending: w.isEnding(),
		initialized: w.initialized, inits: w.inits, mains: w.mains,
	}
}

// podStatus works out the whole status of a pod.
func podStatus(v view, now metav1.Time) v1.PodStatus {
	status := v1.PodStatus{
		Phase: phase(v), StartTime: &v.started, ObservedGeneration: v.pod.Generation,
		HostIP: network.NodeIP, HostIPs: []v1.HostIP{{IP: network.NodeIP}}, PodIP: v.ip, PodIPs: []v1.PodIP{{IP: v.ip}},
	}
	for _, c := range v.inits {
		status.InitContainerStatuses = append(status.InitContainerStatuses, containerStatus(c))
	}
	for _, c := range v.mains {
		status.ContainerStatuses = append(status.ContainerStatuses, containerStatus(c))
	}
	ready := v.initialized && !slices.ContainsFunc(v.mains, func(c *containerState) bool { return !c.ready })
	for _, c := range v.inits {
		ready = ready && (c.kind != sidecar || c.ready)
	}
	status.Conditions = conditions(v, ready, status.Phase, now)
	return status
}

func containerStatus(c *containerState) v1.ContainerStatus {
	started := c.started
	return v1.ContainerStatus{
		Name: c.spec.Name, Image: c.spec.Image, ImageID: "process://" + c.spec.Image, Ready: c.ready, Started: &started,
		RestartCount: c.restarts, State: c.state, LastTerminationState: c.last,
	}
}

// phase is Running from the first start of a main container until none will be
// started again.
func phase(v view) v1.PodPhase {
	ended, failed, ran := 0, false, false
	for _, c := range v.mains {
		ran = ran || c.state.Waiting == nil || c.last.Terminated != nil
		if t := c.state.Terminated; t != nil {
			ended++
			failed = failed || t.ExitCode != 0
		}
	}
	final := v.ending || v.pod.Spec.RestartPolicy == v1.RestartPolicyNever || v.pod.Spec.RestartPolicy == v1.RestartPolicyOnFailure && !failed
	switch {
	case initFailed(v):
		return v1.PodFailed
	case ended == len(v.mains) && final && failed:
		return v1.PodFailed
	case ended == len(v.mains) && final:
		return v1.PodSucceeded
	case ran:
		return v1.PodRunning
	}
	return v1.PodPending
}

func initFailed(v view) bool {
	return v.pod.Spec.RestartPolicy == v1.RestartPolicyNever && slices.ContainsFunc(v.inits, func(c *containerState) bool {
		return c.kind == initContainer && c.state.Terminated != nil && c.state.Terminated.ExitCode != 0
	})
}

// conditions keeps the transition time of those that did not change. Conditions
// of other owners are left out: the patch merges by type.
func conditions(v view, containersReady bool, phase v1.PodPhase, now metav1.Time) []v1.PodCondition {
	ready := containersReady
	for _, gate := range v.pod.Spec.ReadinessGates {
		ready = ready && slices.ContainsFunc(v.pod.Status.Conditions, func(c v1.PodCondition) bool {
			return c.Type == gate.ConditionType && c.Status == v1.ConditionTrue
		})
	}
	reason := ""
	switch {
	case phase == v1.PodSucceeded:
		reason = "PodCompleted"
	case phase == v1.PodFailed:
		reason = "PodFailed"
	case !containersReady:
		reason = "ContainersNotReady"
	case !ready:
		reason = "ReadinessGatesNotReady"
	}
	sandbox := v.ip != ""
	var all []v1.PodCondition
	for _, c := range []struct {
		kind   v1.PodConditionType
		ok     bool
		reason string
	}{
		{v1.PodScheduled, true, ""}, {v1.PodReadyToStartContainers, sandbox, ""}, {v1.PodInitialized, v.initialized, "ContainersNotInitialized"},
		{v1.ContainersReady, containersReady, reason}, {v1.PodReady, ready, reason},
	} {
		condition := v1.PodCondition{Type: c.kind, Status: v1.ConditionTrue, LastTransitionTime: now, ObservedGeneration: v.pod.Generation}
		if !c.ok {
			condition.Status, condition.Reason = v1.ConditionFalse, c.reason
		}
		for _, old := range v.pod.Status.Conditions {
			if old.Type == c.kind && old.Status == condition.Status {
				condition.LastTransitionTime = old.LastTransitionTime
			}
		}
		all = append(all, condition)
	}
	return all
}
