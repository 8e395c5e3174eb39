package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// guide follows the gray-release guide from its first manifest to its last, word
// for word, and asks its questions.
func guide(t *testing.T) {
	manifests := guideManifests(t)
	p := place{t: t, namespace: "default"}
	t.Cleanup(func() {
		if !t.Failed() {
			for _, m := range slices.Backward(manifests) {
				kubectl(t, "delete", "--ignore-not-found", "--wait=false", "-f", m)
			}
		}
	})
	left := manifests
	next := func() {
		t.Helper()
		p.kubectl("apply", "-f", left[0])
		left = left[1:]
	}
	base := guideBefore(p, next)
	guideModels(p, base, next)
	guideAdapters(p, base, next)
	guideTruth(p)
}

// guideManifests are those beside the repository if they are there, and ours are
// the same.
func guideManifests(t testing.TB) []string {
	ours, err := filepath.Glob(file("test", "testdata", "guide", "*.yaml"))
	if err != nil || len(ours) != 7 {
		t.Fatalf("our copy of the guide's manifests: %q, %v", ours, err)
	}
	theirs, err := filepath.Glob(file("..", "shared", "seed", "manifests", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(theirs) == 0 {
		return ours
	}
	for i, path := range theirs {
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		have, err := os.ReadFile(ours[i])
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Base(path) != filepath.Base(ours[i]) || !bytes.Equal(want, have) {
			t.Errorf("%s differs from the guide's %s", ours[i], path)
		}
	}
	return theirs
}

const (
	oldModel = "Qwen-2.5-7B-Instruct"
	newModel = "DeepSeek-R1-Distill-Qwen-7B"
)

// guideBefore deploys the first model and its Gateway: manifests 1 to 3.
func guideBefore(p place, next func()) string {
	p.t.Helper()
	next()
	next()
	next()
	base := p.gateway("inference-gateway")
	p.answers(base, ask("mymodel"))
	if n := count(p.t, base, ask("mymodel"), 100); n.speakers[oldModel] != 100 {
		p.t.Errorf("before the gray release %v answered", n.speakers)
	}
	return base
}

// guideModels deploys the second model and gives it 10 of 100 requests: manifests
// 4 to 6.
func guideModels(p place, base string, next func()) {
	p.t.Helper()
	next()
	next()
	rolledOut(p.t, p.namespace, "qwen", "deepseek-r1")
	if n := count(p.t, base, ask("mymodel"), 50); n.speakers[oldModel] != 50 {
		p.t.Errorf("before the route names the new pool %v answered", n.speakers)
	}
	next()
	p.says("httproute/inference-route", "Accepted=True", "ResolvedRefs=True")
	eventually(p.t, "the new model answers", func() error {
		n := count(p.t, base, ask("mymodel"), 50)
		if n.speakers[newModel] == 0 {
			return errNotYet
		}
		return nil
	})
	count(p.t, base, ask("mymodel"), 1000).about(p.t, map[string]float64{oldModel: 0.9, newModel: 0.1}, 0.015)
}

// guideAdapters gives the second adapter 10 of 100 requests: manifest 7.
func guideAdapters(p place, base string, next func()) {
	p.t.Helper()
	next()
	p.answers(base, ask("travelhelper"))
	n := count(p.t, base, ask("travelhelper"), 1000)
	// Which adapter answered is what the answer calls its model.
	tally{good: n.good, speakers: n.models}.about(p.t, map[string]float64{"travel-helper-v1": 0.9, "travel-helper-v2": 0.1}, 0.015)
}

// guideTruth looks at the objects as a person would.
func guideTruth(p place) {
	t := p.t
	t.Helper()
	says(t, "", "gatewayclass/inference-gateway", "Accepted=True")
	for _, pool := range []string{"mymodel-pool-v1", "mymodel-pool-v2"} {
		message := p.says("inferencepools.inference.networking.x-k8s.io/"+pool, "Accepted=True", "ResolvedRefs=True")
		if !strings.Contains(message, "built-in picker") {
			t.Errorf("pool %s does not say that its picker, which is not there, is not asked: %q", pool, message)
		}
	}
	for _, model := range []string{"mymodel-v1", "mymodel-v2", "loramodel"} {
		p.says("inferencemodel/"+model, "Accepted=True")
	}
	p.says("clienttrafficpolicy/client-buffer-limit", "Accepted=True")
	p.says("backendtrafficpolicy/backend-timeout", "Accepted=True")

	table := p.kubectl("get", "inferencepool,inferencemodel,httproute,gateway,gatewayclass")
	for _, row := range []string{
		`inferencemodel\S*/loramodel `, `inferencemodel\S*/mymodel-v2 `, `httproute\S*/inference-route `,
		`gateway\S*/inference-gateway +inference-gateway +10\.\S+ +True `,
		`gatewayclass\S*/inference-gateway +gateway.envoyproxy.io/gatewayclass-controller +True `,
	} {
		if !regexp.MustCompile(row).MatchString(table) {
			t.Errorf("no row like %q in\n%s", row, table)
		}
	}
	j, err := look(p.namespace, "gateway/inference-gateway")
	if err != nil {
		t.Fatal(err)
	}
	if l := j.Status.Listeners; len(l) != 1 || l[0].Name != "llm-gw" || l[0].AttachedRoutes != 1 {
		t.Errorf("listeners of the Gateway: %+v", l)
	}
	if text := p.kubectl("describe", "gateway", "inference-gateway"); strings.Contains(text, "NotAsAskedFor") {
		t.Errorf("the Gateway is said to be wrong:\n%s", text)
	}
}
