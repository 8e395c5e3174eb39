package agent

import (
	"context"
	"runtime"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"crossfade.dev/test/cluster/internal/network"
)

const kubeletPort = 10250

// register makes the Node object. Nothing checks heartbeats: the node
// lifecycle controller does not run.
func (a *Agent) register(ctx context.Context) error {
	nodes := a.Client.CoreV1().Nodes()
	node := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: NodeName, Labels: map[string]string{
		v1.LabelHostname: NodeName, v1.LabelOSStable: runtime.GOOS, v1.LabelArchStable: runtime.GOARCH, v1.LabelTopologyZone: "local",
	}}}
	if _, err := nodes.Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	node, err := nodes.Get(ctx, NodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	node.Spec.Taints = nil // admission taints every new node as not ready
	if node, err = nodes.Update(ctx, node, metav1.UpdateOptions{}); err != nil {
		return err
	}
	node.Status = nodeStatus()
	_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

// nodeStatus promises more than any test asks for: nothing is scheduled by it,
// the pretended GPUs included.
func nodeStatus() v1.NodeStatus {
	capacity := v1.ResourceList{
		v1.ResourceCPU: resource.MustParse("64"), v1.ResourceMemory: resource.MustParse("256Gi"), v1.ResourcePods: resource.MustParse("1000"),
		v1.ResourceEphemeralStorage: resource.MustParse("1Ti"), "nvidia.com/gpu": resource.MustParse("64"),
	}
	now := metav1.Now()
	return v1.NodeStatus{
		Capacity:        capacity,
		Allocatable:     capacity,
		Addresses:       []v1.NodeAddress{{Type: v1.NodeInternalIP, Address: network.NodeIP}, {Type: v1.NodeHostName, Address: NodeName}},
		DaemonEndpoints: v1.NodeDaemonEndpoints{KubeletEndpoint: v1.DaemonEndpoint{Port: kubeletPort}},
		Conditions:      []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "AgentReady", LastHeartbeatTime: now, LastTransitionTime: now}},
		NodeInfo: v1.NodeSystemInfo{
			OperatingSystem: runtime.GOOS, Architecture: runtime.GOARCH, KubeletVersion: "v1.37.2", ContainerRuntimeVersion: "process://1",
		},
	}
}
