// Package crossfade_test holds the rules that the repository as a whole keeps.
package crossfade_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// floors is the height of every package below the module's root. A package
// imports only packages of lower floors. ARCHITECTURE.md explains them.
var floors = map[string]int{
	"api/crd":                    0,
	"api/envoygateway/v1alpha1":  0,
	"api/inference/v1alpha2":     0,
	"api/v1alpha1":               0,
	"internal/llm":               0,
	"internal/rollout/stats":     0,
	"internal/rollout":           1,
	"internal/routing":           1,
	"internal/rollout/rehearsal": 2,
	"internal/rollout/screen":    2,
	"internal/scheduling":        2,
	"internal/translate":         2,
	"internal/tally":             3,
	"internal/upstream":          3,
	"internal/extproc":           3,
	"internal/gossip":            3,
	"internal/extproc/epptest":   3,
	"internal/source":            4,
	"internal/conductor":         4,
	"internal/modelserver":       4,
	"internal/proxy":             4,
	"internal/admin":             4,
	"internal/sim":               4,
	"internal/warmup":            4,
	"internal/source/file":       5,
	"internal/source/kube":       5,
	"internal/app":               6,
	"cmd/crossfade":              7,
	"test":                       8,
	"test/page":                  0,
	"test/port":                  0,
	"tools/crdgen":               0,
	"bench":                      8,
	"bench/schedsim":             8,
	"bench/rolloutsim":           8,
}

// pure packages know neither Kubernetes nor the network's servers.
var pure = []string{"internal/llm", "internal/rollout", "internal/rollout/rehearsal", "internal/rollout/screen", "internal/rollout/stats", "internal/routing", "internal/scheduling"}

const module = "crossfade.dev"

type goPackage struct {
	ImportPath, Doc string
	Imports, Deps   []string
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Doc,Imports,Deps", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var packages []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list's answer: %v", err)
		}
		packages = append(packages, p)
	}
}

func TestFloors(t *testing.T) {
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		if name == module {
			continue
		}
		floor, ok := floors[name]
		if !ok {
			t.Errorf("package %s has no floor: give it one in floors_test.go", name)
			continue
		}
		for _, imported := range p.Imports {
			below, ours := strings.CutPrefix(imported, module+"/")
			if ours && floors[below] >= floor {
				t.Errorf("%s (floor %d) imports %s (floor %d): imports point down only", name, floor, below, floors[below])
			}
		}
	}
}

func TestEveryPackageHasADoc(t *testing.T) {
	for _, p := range listPackages(t) {
		if p.Doc == "" && p.ImportPath != module {
			t.Errorf("package %s has no package comment", p.ImportPath)
		}
	}
}

func TestPurePackages(t *testing.T) {
	for _, p := range listPackages(t) {
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		for _, want := range pure {
			if name != want {
				continue
			}
			for _, dep := range p.Deps {
				if strings.Contains(dep, "k8s.io/") {
					t.Errorf("%s reaches %s: Kubernetes stops at translate", name, dep)
				}
			}
		}
	}
}
