package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"path"
	"strings"
	"testing"
	"time"
)

// place is a namespace of one scenario.
type place struct {
	t         testing.TB
	namespace string
}

// newPlace makes a namespace named after the scenario, under the strictest Pod
// Security there is, and applies files of testdata in it. A scenario that failed
// leaves it to look at.
func newPlace(t testing.TB, files ...string) place {
	t.Helper()
	p := place{t: t, namespace: strings.ToLower(path.Base(t.Name()))}
	kubectl(t, "delete", "namespace", p.namespace, "--ignore-not-found") // of an earlier run that failed
	kubectl(t, "create", "namespace", p.namespace)
	kubectl(t, "label", "namespace", p.namespace, "pod-security.kubernetes.io/enforce=restricted")
	t.Cleanup(func() {
		if !t.Failed() {
			kubectl(t, "delete", "namespace", p.namespace, "--wait=false")
		}
	})
	for _, f := range files {
		text, err := os.ReadFile("testdata/" + f)
		if err != nil {
			t.Fatal(err)
		}
		p.apply(string(text))
	}
	return p
}

// newChat makes a place where a Gateway serves testdata/chat.yaml and further
// files, and returns its address once it answers.
func newChat(t testing.TB, files ...string) (place, string) {
	t.Helper()
	p := newPlace(t, append(files, "chat.yaml")...)
	rolledOut(t, p.namespace, "one", "two")
	p.says("httproute/chat", "Accepted=True", "ResolvedRefs=True")
	base := p.gateway("gw")
	p.answers(base, ask("chat"))
	return p, base
}

func (p place) apply(manifest string) {
	p.t.Helper()
	apply(p.t, p.namespace, manifest)
}

func (p place) kubectl(args ...string) string {
	p.t.Helper()
	return kubectl(p.t, append([]string{"-n", p.namespace}, args...)...)
}

func (p place) get(object, path string) string {
	p.t.Helper()
	return jsonpath(p.t, p.namespace, object, path)
}

func (p place) says(object string, wants ...string) string {
	p.t.Helper()
	return says(p.t, p.namespace, object, wants...)
}

// pods are those of a data plane, by name.
func (p place) pods(instance string) map[string]bool {
	p.t.Helper()
	names := map[string]bool{}
	for _, name := range strings.Fields(p.kubectl("get", "pods", "-l", "app.kubernetes.io/instance="+instance, "-o", "jsonpath={.items[*].metadata.name}")) {
		names[name] = true
	}
	return names
}

// becomes waits until part of an object is as wanted.
func (p place) becomes(object, path, want string) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%s of %s/%s becomes %q", path, p.namespace, object, want), func() error {
		out, err := run(context.Background(), "", "get", "-n", p.namespace, object, "-o", "jsonpath="+path)
		if err == nil && out != want {
			err = fmt.Errorf("it is %q", out)
		}
		return err
	})
}

// gateway waits until a Gateway is programmed and returns where it listens on
// port 8080, as `kubectl get gateway` tells.
func (p place) gateway(name string) string {
	p.t.Helper()
	p.says("gateway/"+name, "Accepted=True", "Programmed=True")
	address := p.get("gateway/"+name, "{.status.addresses[0].value}")
	if net.ParseIP(address) == nil {
		p.t.Fatalf("gateway %s/%s has the address %q", p.namespace, name, address)
	}
	return "http://" + net.JoinHostPort(address, "8080")
}

// answers waits for a good answer.
func (p place) answers(base string, q question) answer {
	p.t.Helper()
	client := newClient(false)
	var last answer
	eventually(p.t, "a good answer of "+base, func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		var err error
		if last, err = chat(ctx, client, base, q); err != nil {
			return err
		}
		if wrong := last.wrong(q); wrong != "" {
			return fmt.Errorf("%s", wrong)
		}
		return nil
	})
	return last
}

// weigh edits the route of testdata/chat.yaml.
func (p place) weigh(one, two int) {
	p.t.Helper()
	p.kubectl("patch", "httproute/chat", "--type=json", "-p", fmt.Sprintf(
		`[{"op": "replace", "path": "/spec/rules/0/backendRefs/0/weight", "value": %d},
		  {"op": "replace", "path": "/spec/rules/0/backendRefs/1/weight", "value": %d}]`, one, two))
}

// follows waits until the answers are shared as the weights of chat.yaml's route
// say, and then expects it of the next few hundred.
func (p place) follows(l *load, one, two int) {
	p.t.Helper()
	want := map[string]float64{"one": float64(one) / float64(one+two), "two": float64(two) / float64(one+two)}
	within(p.t, patience, fmt.Sprintf("shares of %d/%d", one, two), func() error {
		n := l.measure(100)
		for speaker, share := range want {
			if d := n.share(speaker) - share; d > 0.1 || d < -0.1 || (share == 0) != (n.speakers[speaker] == 0) {
				return fmt.Errorf("%v of %d", n.speakers, n.good)
			}
		}
		return nil
	})
	// Draws follow the weights exactly in each hundred of each replica; what is
	// left are the incomplete hundreds.
	n := l.measure(500)
	n.about(p.t, want, 0.04)
	for speaker, share := range want {
		if share == 0 && n.speakers[speaker] > 0 {
			p.t.Errorf("%d of %d answers are by %s, whose weight is 0", n.speakers[speaker], n.good, speaker)
		}
	}
}

// diagnose shows what a person would look at first.
func diagnose(t testing.TB, since time.Time) {
	for _, args := range [][]string{
		{"get", "gatewayclass,gateway,httproute,pods", "-A", "-o", "wide"},
		{"get", "events", "-A", "--sort-by=.lastTimestamp"},
		{"logs", "-n", "crossfade-system", "-l", "app.kubernetes.io/component=controller", "--prefix", "--tail=200", "--since-time=" + since.UTC().Format(time.RFC3339)},
	} {
		show(t, args...)
	}
	pods, err := run(context.Background(), "", "get", "pods", "-A", "-l", "app.kubernetes.io/component=gateway",
		"-o", `jsonpath={range .items[*]}{.metadata.namespace} {.metadata.name}{"\n"}{end}`)
	if err != nil {
		t.Log(err)
	}
	for line := range strings.Lines(pods) {
		namespace, pod, _ := strings.Cut(strings.TrimSpace(line), " ")
		show(t, "logs", "-n", namespace, pod, "--tail=100", "--since-time="+since.UTC().Format(time.RFC3339))
	}
}

func show(t testing.TB, args ...string) {
	out, err := run(context.Background(), "", args...)
	if err != nil {
		out += "\n" + err.Error()
	}
	t.Logf("kubectl %s\n%s", strings.Join(args, " "), out)
}
