// Package crd holds the CustomResourceDefinitions of every custom kind that
// Crossfade reads, as files that can be applied to a cluster as they are.
//
// Those of the Gateway API (v1.6.1, experimental channel) and of the v1
// InferencePool are made from the projects' own by tools/crdgen; only prose is
// missing. The others are written here: the inference kinds that upstream no
// longer ships, the honoured part of two Envoy Gateway policies, and Crossfade's
// own kinds.
//
// Files are named GROUP_PLURAL.yaml. The package contains data, nothing that acts.
package crd

import "embed"

//go:generate sh -c "cd ../.. && go run ./tools/crdgen"

//go:embed *_*.yaml
var files embed.FS

// Names returns the names of all files, sorted.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		panic(err) // the root of an embedded file system is always there
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names
}

// Read returns the file called name, one of Names.
func Read(name string) ([]byte, error) { return files.ReadFile(name) }
