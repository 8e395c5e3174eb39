//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// routeFile is the file that holds the weights, rewritten to measure how soon a
// change takes effect.
const routeFile = "route.yaml"

// prepareCrossfade writes objects for `crossfade up`: a Gateway, an HTTPRoute with
// the split, and for each group an InferencePool with its pods and an
// InferenceModel that gives the client's model name the group's own target.
func prepareCrossfade(program, dir, addr string, engines engineAddresses) ([]string, error) {
	program, err := filepath.Abs(program)
	if err != nil {
		return nil, fmt.Errorf("path of crossfade: %w", err)
	}
	if _, err := os.Stat(program); err != nil {
		return nil, fmt.Errorf("%s: %w (make build)", program, errNotInstalled)
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("address: %w", err)
	}
	objects := filepath.Join(dir, "objects")
	if err := os.Mkdir(objects, 0o755); err != nil {
		return nil, fmt.Errorf("directory of objects: %w", err)
	}
	if err := os.WriteFile(filepath.Join(objects, "gateway.yaml"), []byte(gatewayYAML(port, engines)), 0o600); err != nil {
		return nil, fmt.Errorf("write objects: %w", err)
	}
	g := groups()
	if err := writeRoute(objects, g[0].weight, g[1].weight); err != nil {
		return nil, err
	}
	admin, err := freePort()
	if err != nil {
		return nil, err
	}
	return []string{program, "up", "--bind", "127.0.0.1", "--admin", fmt.Sprintf("127.0.0.1:%d", admin),
		"--drain", "1s", "--log-level", "warn", objects}, nil
}

func gatewayYAML(port string, engines engineAddresses) string {
	var out strings.Builder
	fmt.Fprintf(&out, `apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata:
  name: bench
spec:
  controllerName: crossfade.dev/gateway
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: bench
  namespace: default
spec:
  gatewayClassName: bench
  listeners:
  - name: http
    protocol: HTTP
    port: %s
`, port)
	for _, g := range groups() {
		for i, e := range engines[g.name] {
			fmt.Fprintf(&out, `---
apiVersion: v1
kind: Pod
metadata:
  name: %[1]s-%[2]d
  namespace: default
  labels:
    version: %[1]s
  annotations:
    crossfade.dev/address: %[3]q
spec:
  containers:
  - name: engine
    image: engine
`, g.name, i, e)
		}
		fmt.Fprintf(&out, `---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferencePool
metadata:
  name: %[1]s
  namespace: default
spec:
  selector:
    version: %[1]s
  targetPortNumber: 8000
  extensionRef:
    name: in-process
---
apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata:
  name: bench-%[1]s
  namespace: default
spec:
  modelName: %[2]s
  poolRef:
    name: %[1]s
  targetModels:
  - name: %[3]s
    weight: 100
`, g.name, askedModel, g.model)
	}
	return out.String()
}

// writeRoute replaces the route's file as editors and kubectl-like tools do: the new
// text under another name, then one rename.
func writeRoute(objects string, stable, candidate int) error {
	route := fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: bench
  namespace: default
spec:
  parentRefs:
  - name: bench
  rules:
  - matches:
    - path:
        type: PathPrefix
        value: /v1/
    backendRefs:
    - group: inference.networking.x-k8s.io
      kind: InferencePool
      name: %s
      weight: %d
    - group: inference.networking.x-k8s.io
      kind: InferencePool
      name: %s
      weight: %d
`, groups()[0].name, stable, groups()[1].name, candidate)
	file := filepath.Join(objects, routeFile)
	if err := os.WriteFile(file+".new", []byte(route), 0o600); err != nil {
		return fmt.Errorf("write route: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("replace route: %w", err)
	}
	return nil
}
