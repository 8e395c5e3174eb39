package app

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestValidateNamesEveryMistake(t *testing.T) {
	c := Defaults()
	if err := c.validateUp(); err == nil || !strings.Contains(err.Error(), "no PATH given") {
		t.Errorf("without paths: %v", err)
	}
	c.Paths = []string{"x"}
	if err := c.validateUp(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	c.Bind, c.Admin, c.AccessLog, c.SimSpeed, c.BufferBytes, c.Drain = "localhost", "nowhere", 2, 0, 1, -1
	c.ShareInterval = time.Millisecond
	err := c.validateUp()
	for _, flag := range []string{"--bind", "--admin", "--access-log", "--sim-speed", "--buffer-memory", "--drain", "--share-interval"} {
		if err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s is not named in: %v", flag, err)
		}
	}
}

const gatewayOnTakenPort = `
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: c}
spec: {controllerName: crossfade.dev/gateway-controller}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec:
  gatewayClassName: c
  listeners:
  - {name: taken, protocol: HTTP, port: TAKEN}
---
apiVersion: v1
kind: Pod
metadata: {name: other}
spec: {containers: [{name: c, image: redis}]}
`

// A port that another process holds and a pod that is no model server are told,
// and stop nothing.
func TestWhatCannotWorkIsTold(t *testing.T) {
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	_, port, _ := net.SplitHostPort(held.Addr().String())
	path := filepath.Join(t.TempDir(), "g.yaml")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(gatewayOnTakenPort, "TAKEN", port)), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := Defaults()
	cfg.Paths, cfg.Admin, cfg.Drain = []string{path}, "127.0.0.1:0", time.Second
	up, err := NewUp(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	up.OnReady = stop
	if err := up.Run(ctx); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, p := range up.view.Load().Problems {
		told = append(told, string(p.Severity)+" "+p.Object+": "+p.Message)
	}
	all := strings.Join(told, "\n")
	for _, want := range []string{"error Gateway default/g: listen on port " + port, "warning Pod default/other: it has no address"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not told in:\n%s", want, all)
		}
	}
	if banner := up.Banner(); !strings.Contains(banner, "address already in use") {
		t.Errorf("the banner hides the taken port:\n%s", banner)
	}
}

func TestAdminPortTaken(t *testing.T) {
	held, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	cfg := Defaults()
	cfg.Paths, cfg.Admin = []string{t.TempDir()}, held.Addr().String()
	up, err := NewUp(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := up.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "--admin") {
		t.Errorf("got %v, want an error that names --admin", err)
	}
}

func TestCheckStartsNothing(t *testing.T) {
	view, err := Check([]string{"../../examples/gray-release"})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(view.Snapshot, ".simulated:8000") || len(view.Pools) != 2 || view.Read == 0 {
		t.Errorf("%d objects, pools %v, snapshot\n%s", view.Read, view.Pools, view.Snapshot)
	}
	if _, err := Check([]string{"no/such/path"}); err == nil {
		t.Error("a missing path is no error")
	}
}
