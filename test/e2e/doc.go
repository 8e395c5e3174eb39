// Package e2e installs Crossfade on a Kubernetes cluster and uses it as people
// do, with kubectl and HTTP requests. Each scenario is a story in a file of its
// own; README.md says how to run them.
package e2e
