// Command helm renders the chart with Helm's own loader and engine, as `helm
// template` would with --include-crds, without the rest of Helm.
//
//	go run . CHART RELEASE NAMESPACE [NAME=VALUE...]
//
// NAME=VALUE as for helm's --set.
package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
)

func main() {
	if len(os.Args) < 4 {
		fmt.Fprintln(os.Stderr, "usage: helm CHART RELEASE NAMESPACE [NAME=VALUE...]")
		os.Exit(2)
	}
	if err := render(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, "helm:", err)
		os.Exit(1)
	}
}

func render(path, release, namespace string, sets []string) error {
	chart, err := loader.Load(path)
	if err != nil {
		return err
	}
	given := map[string]any{}
	for _, s := range sets {
		if err := strvals.ParseInto(s, given); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	values, err := util.ToRenderValues(chart, given, common.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}, common.DefaultCapabilities)
	if err != nil {
		return err
	}
	out, err := engine.Engine{Strict: true}.Render(chart, values)
	if err != nil {
		return err
	}
	for _, crd := range chart.CRDObjects() {
		fmt.Printf("---\n# Source: %s\n%s\n", crd.Filename, crd.File.Data)
	}
	for _, name := range slices.Sorted(maps.Keys(out)) {
		if strings.HasSuffix(name, ".yaml") && strings.TrimSpace(out[name]) != "" {
			fmt.Printf("---\n# Source: %s\n%s\n", name, out[name])
		}
	}
	return nil
}
