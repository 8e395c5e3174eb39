package agent

import (
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"crossfade.dev/test/cluster/internal/container"
)

func exited(code int32) v1.ContainerState {
	return v1.ContainerState{Terminated: &v1.ContainerStateTerminated{ExitCode: code}}
}

var running = v1.ContainerState{Running: &v1.ContainerStateRunning{}}

// TestPodStatus writes each case's outcome as "phase ready initialized reason".
func TestPodStatus(t *testing.T) {
	up, notYet := &containerState{state: running, ready: true}, &containerState{state: running}
	for _, c := range []struct {
		name         string
		policy       v1.RestartPolicy
		inits, mains []*containerState
		initialized  bool
		ending       bool
		gates        []v1.PodReadinessGate
		want         string
	}{
		{name: "new", mains: []*containerState{{state: waiting("ContainerCreating", "")}}, want: "Pending False False ContainersNotReady"},
		{name: "running", initialized: true, mains: []*containerState{notYet}, want: "Running False True ContainersNotReady"},
		{name: "ready", initialized: true, mains: []*containerState{up, up}, want: "Running True True "},
		{name: "one of two", initialized: true, mains: []*containerState{up, notYet}, want: "Running False True ContainersNotReady"},
		{name: "an unknown image", initialized: true, mains: []*containerState{{state: waiting("ErrImagePull", "")}}, want: "Pending False True ContainersNotReady"},
		{name: "between crashes", initialized: true, mains: []*containerState{{state: waiting("CrashLoopBackOff", ""), last: exited(1)}}, want: "Running False True ContainersNotReady"},
		{name: "crashed, to be restarted", initialized: true, mains: []*containerState{{state: exited(1)}}, want: "Running False True ContainersNotReady"},
		{name: "a job that worked", policy: v1.RestartPolicyNever, initialized: true, mains: []*containerState{{state: exited(0)}}, want: "Succeeded False True PodCompleted"},
		{name: "a job that did not", policy: v1.RestartPolicyNever, initialized: true, mains: []*containerState{{state: exited(0)}, {state: exited(2)}}, want: "Failed False True PodFailed"},
		{name: "a job that is tried again", policy: v1.RestartPolicyOnFailure, initialized: true, mains: []*containerState{{state: exited(2)}}, want: "Running False True ContainersNotReady"},
		{name: "deleted and gone", ending: true, initialized: true, mains: []*containerState{{state: exited(0)}}, want: "Succeeded False True PodCompleted"},
		{name: "an init container that failed for good", policy: v1.RestartPolicyNever, inits: []*containerState{{kind: initContainer, state: exited(1)}},
			mains: []*containerState{{state: waiting("PodInitializing", "")}}, want: "Failed False False PodFailed"},
		{name: "a sidecar that is not ready", initialized: true, inits: []*containerState{{kind: sidecar, state: running}}, mains: []*containerState{up}, want: "Running False True ContainersNotReady"},
		{name: "a gate that is closed", initialized: true, mains: []*containerState{up}, gates: []v1.PodReadinessGate{{ConditionType: "example.test/closed"}}, want: "Running False True ReadinessGatesNotReady"},
		{name: "a gate that is open", initialized: true, mains: []*containerState{up}, gates: []v1.PodReadinessGate{{ConditionType: "example.test/open"}}, want: "Running True True "},
	} {
		pod := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: c.policy, ReadinessGates: c.gates},
			Status: v1.PodStatus{Conditions: []v1.PodCondition{{Type: "example.test/open", Status: v1.ConditionTrue}}}}
		if pod.Spec.RestartPolicy == "" {
			pod.Spec.RestartPolicy = v1.RestartPolicyAlways
		}
		status := podStatus(view{pod: pod, ip: "10.0.0.9", initialized: c.initialized, ending: c.ending, inits: c.inits, mains: c.mains}, metav1.Now())
		ready, initialized := condition(status, v1.PodReady), condition(status, v1.PodInitialized)
		got := strings.Join([]string{string(status.Phase), string(ready.Status), string(initialized.Status), ready.Reason}, " ")
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

func condition(s v1.PodStatus, kind v1.PodConditionType) v1.PodCondition {
	for _, c := range s.Conditions {
		if c.Type == kind {
			return c
		}
	}
	return v1.PodCondition{}
}

// TestTransitionTimes checks that only a change of status moves them.
func TestTransitionTimes(t *testing.T) {
	pod := &v1.Pod{Spec: v1.PodSpec{RestartPolicy: v1.RestartPolicyAlways}}
	c := &containerState{state: running}
	v := view{pod: pod, ip: "10.0.0.9", initialized: true, mains: []*containerState{c}}
	first, second := metav1.Unix(100, 0), metav1.Unix(200, 0)
	pod.Status = podStatus(v, first)
	c.ready = true
	later := podStatus(v, second)
	if at := condition(later, v1.PodInitialized).LastTransitionTime; !at.Equal(&first) {
		t.Errorf("Initialized moved to %v", at)
	}
	if at := condition(later, v1.PodReady).LastTransitionTime; !at.Equal(&second) {
		t.Errorf("Ready is from %v", at)
	}
}

func TestBackoff(t *testing.T) {
	var b backoff
	var got []string
	for _, ran := range []time.Duration{0, 0, 0, 0, 0, 0, 0, 0, 2 * time.Minute, 0} {
		got = append(got, b.next(ran).String())
	}
	if want := "0s 1s 2s 4s 8s 16s 30s 30s 0s 1s"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %s", got, want)
	}
}

func TestSecurity(t *testing.T) {
	id := func(n int64) *int64 { return &n }
	yes, no := true, false
	for _, c := range []struct {
		name  string
		image int
		pod   *v1.PodSecurityContext
		c     *v1.SecurityContext
		want  container.Spec
		fails bool
	}{
		{name: "the image's user", image: 65532, want: container.Spec{UID: 65532}},
		{name: "the pod's user", image: 1, pod: &v1.PodSecurityContext{RunAsUser: id(2), RunAsGroup: id(3)}, want: container.Spec{UID: 2, GID: 3}},
		{name: "the container's user", pod: &v1.PodSecurityContext{RunAsUser: id(2)}, c: &v1.SecurityContext{RunAsUser: id(4)}, want: container.Spec{UID: 4}},
		{name: "root where it must not be", pod: &v1.PodSecurityContext{RunAsNonRoot: &yes}, fails: true},
		{name: "the container may be root", pod: &v1.PodSecurityContext{RunAsNonRoot: &yes}, c: &v1.SecurityContext{RunAsNonRoot: &no}},
		{name: "not root", image: 65532, pod: &v1.PodSecurityContext{RunAsNonRoot: &yes}, want: container.Spec{UID: 65532}},
		{name: "locked down", c: &v1.SecurityContext{AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes}, want: container.Spec{NoNewPrivs: true, ReadOnlyRoot: true}},
		{name: "groups", pod: &v1.PodSecurityContext{SupplementalGroups: []int64{7}, FSGroup: id(8)}, want: container.Spec{Groups: []int{7, 8}}},
	} {
		var got container.Spec
		err := security(&got, c.image, c.pod, c.c)
		if (err != nil) != c.fails {
			t.Errorf("%s: error %v", c.name, err)
		}
		if err == nil && (got.UID != c.want.UID || got.GID != c.want.GID || got.NoNewPrivs != c.want.NoNewPrivs ||
			got.ReadOnlyRoot != c.want.ReadOnlyRoot || len(got.Groups) != len(c.want.Groups)) {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}
