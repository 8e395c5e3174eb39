// Package v1alpha1 holds Crossfade's own custom resources, group crossfade.dev:
// types, defaults and validation markers, nothing that acts. Their
// CustomResourceDefinitions are in api/crd.
package v1alpha1

const (
	// Group is the API group of every kind of this package.
	Group = "crossfade.dev"
	// Version is their version.
	Version = "v1alpha1"
)
