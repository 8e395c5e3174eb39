// Package cluster is a real Kubernetes cluster for tests without containers:
// etcd, the API server, the controllers and kube-proxy as plain processes in
// namespaces of their own, and an agent in the kubelet's place that runs each
// container as a local program. README.md says how to use it; the packages:
//
//  1. cmd/testbin builds what is needed and keeps the slow part in a cache.
//  2. cmd/up makes the namespaces, boots and runs a command inside.
//  3. cmd/hyper is all official Kubernetes programs in one static binary.
//  4. internal/controlplane starts them with their certificates and flags.
//  5. internal/agent binds, starts, probes and ends pods; images, volumes,
//     probe, network and container below it do one of these each.
//
// The package itself holds only the end-to-end test.
package cluster
