package controlplane

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"crossfade.dev/test/cluster/internal/network"
)

// apiserverArgs leaves admission at its default: PodSecurity, CEL rules and
// policies act as in a real cluster.
func (p *Plane) apiserverArgs() []string {
	file := func(name string) string { return filepath.Join(p.Folder, name) }
	args := []string{
		"--etcd-servers=http://" + etcdAddress,
		"--bind-address=0.0.0.0", "--secure-port=6443", "--advertise-address=" + network.NodeIP,
		"--tls-cert-file=" + file("apiserver.crt"), "--tls-private-key-file=" + file("apiserver.key"),
		"--client-ca-file=" + file("ca.crt"),
		"--kubelet-client-certificate=" + file("apiserver-kubelet.crt"), "--kubelet-client-key=" + file("apiserver-kubelet.key"),
		"--kubelet-certificate-authority=" + file("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
		"--service-account-key-file=" + file("service-accounts.pub"), "--service-account-signing-key-file=" + file("service-accounts.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-cluster-ip-range=" + network.ServiceRange,
		"--authorization-mode=RBAC", "--allow-privileged=true", "--profiling=false",
	}
	if p.EmulatedVersion != "" {
		args = append(args, "--emulated-version=kube="+p.EmulatedVersion)
	}
	return append(args, p.APIServerFlags...)
}

// controllers are those that a test may see the work of. The node lifecycle
// controller is not among them: there is one node and it is always there.
var controllers = []string{
	"deployment", "replicaset", "daemonset", "statefulset", "job", "cronjob", "endpoints", "endpointslice", "endpointslice-mirroring",
	"namespace", "garbage-collector", "serviceaccount", "serviceaccount-token", "root-ca-certificate-publisher", "pod-garbage-collector",
	"disruption", "horizontal-pod-autoscaler", "clusterrole-aggregation", "resourcequota", "service-cidr", "ttl-after-finished",
	"validatingadmissionpolicy-status",
}

func (p *Plane) controllerArgs() []string {
	var names []string
	for _, c := range controllers {
		names = append(names, c+"-controller")
	}
	return []string{
		"--kubeconfig=" + p.Kubeconfig("controller-manager"), "--leader-elect=false", "--secure-port=0",
		"--service-account-private-key-file=" + filepath.Join(p.Folder, "service-accounts.key"), "--root-ca-file=" + filepath.Join(p.Folder, "ca.crt"),
		// Without it RBAC refuses every controller.
		"--use-service-account-credentials=true",
		"--kube-api-qps=500", "--kube-api-burst=1000", "--controllers=" + strings.Join(names, ","),
		// Rollouts and endpoints follow at once, not in batches made for large clusters.
		"--endpointslice-updates-batch-period=0s", "--endpoint-updates-batch-period=0s",
	}
}

// writeProxyConfig makes kube-proxy act on a change at once. The default of one
// second between two changes is for clusters with thousands of Services.
func (p *Plane) writeProxyConfig() error {
	config := fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
bindAddress: %[1]s
hostnameOverride: node
clusterCIDR: %[2]s
clientConnection: {kubeconfig: %[3]s, qps: 100, burst: 200}
healthzBindAddress: %[1]s:10256
metricsBindAddress: %[1]s:10249
nftables: {minSyncPeriod: 10ms, syncPeriod: 30s}
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
`, network.NodeIP, network.PodRange, p.Kubeconfig("proxy"))
	return os.WriteFile(filepath.Join(p.Folder, "proxy.yaml"), []byte(config), 0o600)
}
