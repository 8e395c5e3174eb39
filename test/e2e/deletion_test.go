package e2e

import (
	"strings"
	"testing"
)

// deletion of a Gateway leaves nothing behind, also when no controller sees it.
func deletion(t *testing.T) {
	p := newPlace(t)
	secured := func(name string) {
		p.apply(strings.ReplaceAll(`
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: NAME}
spec:
  gatewayClassName: crossfade
  listeners:
  - {name: http, port: 8080, protocol: HTTP}
  - {name: https, port: 8443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}
`, "NAME", name))
	}
	objects := func(name string) []string {
		rights := "crossfade-gateway:" + p.namespace + ":" + name
		return []string{
			"deployment/" + name, "service/" + name, "serviceaccount/" + name, "poddisruptionbudget/" + name,
			"role/" + rights, "rolebinding/" + rights, "clusterrolebinding/" + rights,
		}
	}
	made := func(name string) {
		t.Helper()
		for _, o := range objects(name) {
			eventually(t, o+" is made", func() error {
				there, err := exists(p.namespace, o)
				if err == nil && !there {
					err = errNotYet
				}
				return err
			})
		}
	}
	secured("seen")
	secured("unseen")
	secured("kept")
	for _, name := range []string{"seen", "unseen", "kept"} {
		p.gateway(name)
		made(name + "-crossfade")
	}

	p.kubectl("delete", "gateway/seen")
	gone(t, p.namespace, objects("seen-crossfade")...)

	kubectl(t, "scale", "-n", system, "deployment/crossfade-controller", "--replicas=0")
	eventually(t, "no controller runs", func() error {
		if pods := kubectl(t, "get", "pods", "-n", system, "-o", "name"); pods != "" {
			return errNotYet
		}
		return nil
	})
	p.kubectl("delete", "gateway/unseen")
	kubectl(t, "scale", "-n", system, "deployment/crossfade-controller", "--replicas=2")
	rolledOut(t, system, "crossfade-controller")
	gone(t, p.namespace, objects("unseen-crossfade")...)

	made("kept-crossfade")
	p.says("gateway/kept", "Accepted=True", "Programmed=True")
}
