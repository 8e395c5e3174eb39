package cluster

import (
	"bufio"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestInsideDeployment follows one Deployment behind a LoadBalancer Service.
func TestInsideDeployment(t *testing.T) {
	inside(t)
	ns := namespace(t, "web.yaml")
	rollout(t, ns, "web")
	becomes(t, ns, "endpointslices", "{range .items[*].endpoints[*]}{.conditions.ready} {end}", "true true true")
	eventually(t, "a load balancer's address", func() error {
		if jsonpath(t, ns, "svc/web", "{.status.loadBalancer.ingress[0].ip}") == "" {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	balancer := "http://" + jsonpath(t, ns, "svc/web", "{.status.loadBalancer.ingress[0].ip}")
	clusterIP := "http://" + jsonpath(t, ns, "svc/web", "{.spec.clusterIP}")
	for _, url := range []string{balancer, clusterIP} {
		eventually(t, "an answer of "+url, func() error { _, err := get(url); return err })
		answered := map[string]bool{}
		eventually(t, "an answer of every pod", func() error {
			answered[mustGet(t, url)] = true
			if len(answered) < 3 {
				return fmt.Errorf("only of %v", answered)
			}
			return nil
		})
	}
	t.Run("identity", func(t *testing.T) {
		if got := mustGet(t, balancer+"/id"); got != "uid=65532 gid=0 root-writable=false" {
			t.Error(got)
		}
	})
	t.Run("readiness", func(t *testing.T) {
		mustGet(t, balancer+"/fail")
		becomes(t, ns, "endpointslices", "{range .items[*].endpoints[?(@.conditions.ready==false)]}{.conditions.serving} {end}", "false")
	})
	t.Run("a rolling restart loses no request", func(t *testing.T) {
		lost := whileAsking(balancer, func() {
			kubectl(t, "-n", ns, "rollout", "restart", "deployment/web")
			rollout(t, ns, "web")
		})
		if lost > 0 {
			t.Errorf("%d requests were lost", lost)
		}
		becomes(t, ns, "endpointslices", "{range .items[*].endpoints[*]}{.conditions.ready} {end}", "true true true")
	})
}

// whileAsking counts the requests that fail while f runs.
func whileAsking(url string, f func()) int64 {
	var lost atomic.Int64
	var asking sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		asking.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := get(url + "/slow?d=20ms"); err != nil {
					lost.Add(1)
				}
			}
		})
	}
	f()
	close(stop)
	asking.Wait()
	return lost.Load()
}

// TestInsideTermination watches a pod on its way out: it answers, while the
// endpoints say that it is leaving.
func TestInsideTermination(t *testing.T) {
	inside(t)
	ns := namespace(t, "web.yaml")
	rollout(t, ns, "web")
	kubectl(t, "-n", ns, "scale", "deployment/web", "--replicas=1")
	becomes(t, ns, "endpointslices", "{range .items[*].endpoints[*]}{.conditions.ready} {end}", "true")
	pod := jsonpath(t, ns, "pods", "{.items[0].metadata.name}")
	ip := jsonpath(t, ns, "pod/"+pod, "{.status.podIP}")
	kubectl(t, "-n", ns, "delete", "pod", pod, "--wait=false")
	becomes(t, ns, "endpointslices", `{range .items[*].endpoints[?(@.targetRef.name=="`+pod+`")]}{.conditions.ready} {.conditions.serving} {.conditions.terminating}{end}`,
		"false true true")
	if _, err := get("http://" + ip); err != nil {
		t.Errorf("during preStop: %v", err)
	}
	kubectl(t, "-n", ns, "wait", "--for=delete", "pod/"+pod, "--timeout="+patience.String())
	if _, err := get("http://" + ip); err == nil {
		t.Error("the pod's address answers after its end")
	}
}

func TestInsideLogs(t *testing.T) {
	inside(t)
	ns := namespace(t, "web.yaml")
	rollout(t, ns, "web")
	pod := jsonpath(t, ns, "pods", "{.items[0].metadata.name}")
	url := "http://" + jsonpath(t, ns, "pod/"+pod, "{.status.podIP}")
	mustGet(t, url+"/log?line=one")
	mustGet(t, url+"/log?line=two")
	eventually(t, "two lines", func() error {
		if got := kubectl(t, "-n", ns, "logs", pod); got != "testserver starts\none\ntwo" {
			return fmt.Errorf("log %q", got)
		}
		return nil
	})
	if got := kubectl(t, "-n", ns, "logs", pod, "--tail=1"); got != "two" {
		t.Errorf("--tail=1: %q", got)
	}
	stamp, _, _ := strings.Cut(kubectl(t, "-n", ns, "logs", pod, "--tail=1", "--timestamps"), " ")
	if got := kubectl(t, "-n", ns, "logs", pod, "--since-time="+stamp); got != "two" {
		// The API rounds to seconds, so lines of the same second come too.
		if !strings.HasSuffix(got, "two") {
			t.Errorf("--since-time=%s: %q", stamp, got)
		}
	}
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	if got := kubectl(t, "-n", ns, "logs", pod, "--since-time="+later); got != "" {
		t.Errorf("--since-time an hour ahead: %q", got)
	}
	follow(t, ns, pod, url)
}

func follow(t *testing.T, ns, pod, url string) {
	cmd := exec.CommandContext(t.Context(), "kubectl", "-n", ns, "logs", "-f", "--tail=0", pod)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _, _ = interrupt(cmd), cmd.Wait() }()
	lines := make(chan string, 1000)
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
		close(lines)
	}()
	// Nothing tells when kubectl has begun to follow.
	eventually(t, "a line that follows", func() error {
		mustGet(t, url+"/log?line=followed")
		select {
		case line := <-lines:
			if line != "followed" {
				return fmt.Errorf("line %q", line)
			}
			return nil
		case <-time.After(200 * time.Millisecond):
			return fmt.Errorf("none yet")
		}
	})
}

// TestInsideEverything checks volumes, variables, init containers, sidecars,
// probes of all kinds and what a token allows.
func TestInsideEverything(t *testing.T) {
	inside(t)
	ns := namespace(t, "everything.yaml")
	// The Secret does not exist yet, as in manifests that make it last.
	becomes(t, ns, "pod/everything", "{.status.containerStatuses[0].state.waiting.reason}", "CreateContainerConfigError")
	kubectl(t, "-n", ns, "create", "secret", "generic", "late", "--from-literal=word=open")
	kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "pod/everything", "--timeout="+patience.String())
	url := "http://" + jsonpath(t, ns, "pod/everything", "{.status.podIP}") + ":8080"
	for path, want := range map[string]string{
		"/env?name=NAME":                                  "everything",
		"/env?name=IP":                                    jsonpath(t, ns, "pod/everything", "{.status.podIP}"),
		"/env?name=WORD":                                  "open",
		"/env?name=GREETING":                              "hello",
		"/file?path=/etc/config/greeting":                 "hello",
		"/file?path=/labels/tier":                         "test",
		"/api?path=/version":                              "200 OK",
		"/api?path=/api/v1/namespaces/" + ns + "/pods":    "200 OK",
		"/api?path=/api/v1/namespaces/" + ns + "/secrets": "403 Forbidden",
		"/api?path=/api/v1/pods":                          "403 Forbidden",
	} {
		if got, err := get(url + path); err != nil || got != want {
			t.Errorf("%s: %q, error %v; want %q", path, got, err, want)
		}
	}
	becomes(t, ns, "pod/everything", "{.status.initContainerStatuses[*].state..reason}", "Completed")
}

func TestInsideCrash(t *testing.T) {
	inside(t)
	ns := namespace(t, "web.yaml")
	rollout(t, ns, "web")
	pod := "pod/" + jsonpath(t, ns, "pods", "{.items[0].metadata.name}")
	url := "http://" + jsonpath(t, ns, pod, "{.status.podIP}")
	_, _ = get(url + "/crash") // the connection breaks
	becomes(t, ns, pod, "{.status.containerStatuses[0].restartCount} {.status.containerStatuses[0].lastState.terminated.exitCode} {.status.containerStatuses[0].ready}", "1 3 true")
	if got := kubectl(t, "-n", ns, "logs", pod, "--previous"); got != "testserver starts" {
		t.Errorf("logs --previous: %q", got)
	}
}

func TestInsideUnknownImage(t *testing.T) {
	inside(t)
	kubectl(t, "create", "namespace", "unknown")
	eventually(t, "a pod", func() error {
		_, err := tryKubectl(t.Context(), "-n", "unknown", "run", "p", "--image=example.test/nobody:v1")
		return err
	})
	becomes(t, "unknown", "pod/p", "{.status.phase} {.status.containerStatuses[0].state.waiting.reason}", "Pending ErrImagePull")
}

// TestInsideAddresses has several Services on one port, with an address each,
// one of them asked for.
func TestInsideAddresses(t *testing.T) {
	inside(t)
	ns := namespace(t, "web.yaml")
	rollout(t, ns, "web")
	for i, spec := range []string{`"loadBalancerIP":"10.250.7.7"`, `"loadBalancerIP":"198.51.100.9"`, `"externalIPs":["192.0.2.4"]`} {
		overrides := `{"apiVersion":"v1","spec":{"type":"LoadBalancer","selector":{"app":"web"},` + spec + `}}`
		kubectl(t, "-n", ns, "create", "service", "loadbalancer", fmt.Sprintf("s%d", i), "--tcp=80:80")
		kubectl(t, "-n", ns, "patch", "service", fmt.Sprintf("s%d", i), "--patch", overrides)
	}
	for _, ip := range []string{"10.250.7.7", "198.51.100.9", "192.0.2.4"} {
		eventually(t, "an answer of "+ip, func() error { _, err := get("http://" + ip); return err })
	}
}

// TestInsideValidation shows that the API server's own rules hold.
func TestInsideValidation(t *testing.T) {
	inside(t)
	cmd := exec.CommandContext(t.Context(), "kubectl", "create", "-f", "-")
	cmd.Stdin = strings.NewReader(`{"apiVersion":"example.test/v1","kind":"Widget","metadata":{"name":"w"},"spec":{"low":2,"high":1}}`)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "low is above high") {
		t.Errorf("error %v: %s", err, out)
	}
}

// TestInsideNoWayOut shows that a test cannot reach the outer world by mistake.
func TestInsideNoWayOut(t *testing.T) {
	inside(t)
	if _, err := get("http://192.0.2.250"); err == nil || !strings.Contains(err.Error(), "unreachable") {
		t.Errorf("error %v, want an unreachable network", err)
	}
}

// TestInsideGuide runs the guide's model server, played by the simulator.
func TestInsideGuide(t *testing.T) {
	inside(t)
	ns := namespace(t, "../../testdata/guide/1-qwen-deployment.yaml")
	rollout(t, ns, "qwen")
	url := "http://" + jsonpath(t, ns, "svc/qwen", "{.spec.clusterIP}") + ":8000/v1/models"
	eventually(t, "the models", func() error {
		got, err := get(url)
		if err == nil && !strings.Contains(got, "travel-helper-v2") {
			err = fmt.Errorf("models %s", got)
		}
		return err
	})
	if got := jsonpath(t, "", "node/node", `{.status.capacity.nvidia\.com/gpu}`); got == "" {
		t.Error("the node has no GPUs to pretend")
	}
}
