package e2e

import (
	"strings"
	"testing"
)

const system = "crossfade-system"

// install follows the README on an empty cluster, where manifests written for
// Envoy Gateway are to be served.
func install(t *testing.T) {
	if crds := kubectl(t, "get", "crd", "-o", "name"); crds != "" {
		t.Fatalf("the cluster is not empty: it has %s", crds)
	}
	overlay := file("deploy", "take-over-envoy-gateway")
	kubectl(t, "apply", "-k", overlay)
	kubectl(t, "wait", "--for=condition=Established", "crd", "--all", "--timeout="+patience.String())
	rolledOut(t, system, "crossfade-controller")

	t.Run("as shipped", func(t *testing.T) {
		if level := jsonpath(t, "", "namespace/"+system, `{.metadata.labels.pod-security\.kubernetes\.io/enforce}`); level != "restricted" {
			t.Errorf("Pod Security of %s is %q", system, level)
		}
		pods := kubectl(t, "get", "pods", "-n", system, "-o", `jsonpath={range .items[*]}{.status.phase} {.status.containerStatuses[0].restartCount}{"\n"}{end}`)
		if pods != "Running 0\nRunning 0" {
			t.Errorf("the controller's pods, with restarts:\n%s", pods)
		}
		// It fails if there is a difference, such as a default that is not written out.
		if difference, err := run(t.Context(), "", "diff", "-k", overlay); err != nil {
			t.Errorf("applying again would change something: %v\n%s", err, difference)
		}
	})
	t.Run("one leads", func(t *testing.T) {
		leader(t)
	})
	t.Run("class", func(t *testing.T) {
		kubectl(t, "apply", "-f", file("deploy", "gatewayclass.yaml"))
		says(t, "", "gatewayclass/crossfade", "Accepted=True")
		if line := kubectl(t, "get", "gatewayclass", "crossfade", "--no-headers"); !strings.Contains(line, "crossfade.dev/gateway-controller") || !strings.Contains(line, "True") {
			t.Errorf("kubectl get gatewayclass: %s", line)
		}
	})
}

// leader waits until one of the controller's running pods holds the lease, and
// returns its name.
func leader(t testing.TB) string {
	t.Helper()
	var holder string
	eventually(t, "one of the controller's pods leads", func() error {
		holder = jsonpath(t, system, "lease/crossfade-controller", "{.spec.holderIdentity}")
		holder, _, _ = strings.Cut(holder, "_") // a suffix that makes it unique may follow
		_, err := run(t.Context(), "", "get", "-n", system, "pod/"+holder)
		return err
	})
	return holder
}
