package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// helm checks that the chart says what the kustomization says, then takes
// Crossfade off the cluster and installs it by the chart.
func helm(t *testing.T) {
	overlay := file("deploy", "take-over-envoy-gateway")
	chart := render(t, "controllerNames={gateway.envoyproxy.io/gatewayclass-controller}")

	t.Run("same", func(t *testing.T) {
		kustomized, charted := objects(t, kubectl(t, "kustomize", overlay)), objects(t, chart)
		delete(kustomized, "Namespace /"+system) // Helm's --create-namespace is for that
		for name, want := range kustomized {
			if have, ok := charted[name]; !ok {
				t.Errorf("the chart lacks %s", name)
			} else if !reflect.DeepEqual(have, want) {
				t.Errorf("%s differs:\nchart: %s\nkustomization: %s", name, print(t, have), print(t, want))
			}
		}
		for name := range charted {
			if _, ok := kustomized[name]; !ok {
				t.Errorf("the kustomization lacks %s", name)
			}
		}
	})

	// While the controller is there, Gateways go with all that belongs to them.
	kubectl(t, "delete", "gateway", "--all", "-A")
	eventually(t, "no rights are left", func() error {
		left := kubectl(t, "get", "clusterrolebinding,role,rolebinding", "-A", "-l", "app.kubernetes.io/managed-by=crossfade", "-o", "name")
		if left != "" {
			return fmt.Errorf("%s", left)
		}
		return nil
	})
	kubectl(t, "delete", "-k", overlay)
	if left := kubectl(t, "get", "crd", "-o", "name"); left != "" {
		t.Errorf("uninstalling left %s", left)
	}

	kubectl(t, "create", "namespace", system)
	kubectl(t, "label", "namespace", system, "pod-security.kubernetes.io/enforce=restricted")
	crds, rest, found := strings.Cut(chart, "\n---\n# Source: crossfade/templates/")
	if !found {
		t.Fatal("the chart's output names no template")
	}
	apply(t, "", crds) // as helm does: first, and waits
	kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout="+patience.String())
	apply(t, system, "# Source: crossfade/templates/"+rest)
	rolledOut(t, system, "crossfade-controller")
	kubectl(t, "apply", "-f", file("deploy", "gatewayclass.yaml"))
	newChat(t)
}

// render runs Helm's engine on the chart, as `helm template --include-crds` would.
func render(t testing.TB, sets ...string) string {
	t.Helper()
	program := filepath.Join(*bin, "helm")
	if _, err := os.Stat(program); err != nil {
		t.Skipf("build it first: (cd tools/helm && go build -o ../../bin/testbin/helm .): %v", err)
	}
	out, err := exec.CommandContext(t.Context(), program, append([]string{file("deploy", "helm", "crossfade"), "crossfade", system}, sets...)...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// objects reads a stream of YAML documents by kind, namespace and name.
func objects(t testing.TB, stream string) map[string]map[string]any {
	t.Helper()
	all := map[string]map[string]any{}
	for doc := range strings.SplitSeq("\n"+stream, "\n---\n") {
		var o map[string]any
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			t.Fatalf("%v in %s", err, doc)
		}
		if o == nil {
			continue
		}
		meta, _ := o["metadata"].(map[string]any)
		namespace, _ := meta["namespace"].(string)
		name := fmt.Sprintf("%v %s/%v", o["kind"], namespace, meta["name"])
		if all[name] != nil {
			t.Errorf("%s is there twice", name)
		}
		all[name] = o
	}
	return all
}

func print(t testing.TB, o any) string {
	t.Helper()
	text, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
