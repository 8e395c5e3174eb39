package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
)

// A target that lists the old adapter alone, in each kind of object that can.
var modelTargets = map[string]struct {
	object, target string
	constant       bool // clients see one name of the model all the time
}{
	"InferenceModelRewrite": {`apiVersion: llm-d.ai/v1alpha2
kind: InferenceModelRewrite
metadata: {name: travelhelper}
spec:
  poolRef: {name: qwen}
  rules:
  - matches: [{model: {value: travelhelper}}]
    targets: [{modelRewrite: travel-helper-v1}]
`, "modelRewrite: {name: travelhelper, match: travelhelper}", true},
	"InferenceModel": {`apiVersion: inference.networking.x-k8s.io/v1alpha2
kind: InferenceModel
metadata: {name: travelhelper}
spec:
  modelName: travelhelper
  poolRef: {group: inference.networking.k8s.io, name: qwen}
  targetModels: [{name: travel-helper-v1, weight: 100}]
`, "inferenceModel: {name: travelhelper}", false},
}

// From one adapter to the next: the object lists the old one alone and is never
// written, the shares go 0, 50, 100, and an endpoint that has not loaded the new one
// holds everything up (scenario 13).
func TestRolloutModels(t *testing.T) {
	for kind, c := range modelTargets {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const path = "../examples/rollout-lora/"
			models, _, ok := strings.Cut(read(t, path+"1-models.yaml"), "---\napiVersion: llm-d.ai")
			before, _, found := strings.Cut(read(t, path+"3-rollout.yaml"), "  # Everything below")
			if !ok || !found {
				t.Fatal("the example has changed")
			}
			files := map[string]string{
				"1-models.yaml":  models + "---\n" + c.object,
				"2-gateway.yaml": read(t, path+"2-gateway.yaml"),
				"3-rollout.yaml": strings.Replace(before, "modelRewrite: {name: travelhelper, match: travelhelper}", c.target, 1) + "  paused: true\n" + quick,
			}
			g := startFiles(t, files)
			endpoint := g.endpoints(t, "default/qwen")[0]
			g.tell(t, http.MethodPost, endpoint, "/v1/unload_lora_adapter", `{"lora_name": "travel-helper-v2"}`)
			g.until(t, "noticed that the adapter is missing", func(_ *cfv1a1.InferenceRollout, s rollout.State) bool { return len(s.Last.NoModel) == 1 })
			g.shares(t, 0, c.constant)
			g.write(t, "3-rollout.yaml", strings.Replace(files["3-rollout.yaml"], "paused: true", "paused: false", 1))
			g.until(t, "held by the adapter", func(o *cfv1a1.InferenceRollout, s rollout.State) bool {
				if s.Share.Set > 0 {
					t.Fatalf("it has a share of %s: %s", s.Share.Set, o.Status.Message)
				}
				return s.Hold == "ModelMissing"
			})
			g.tell(t, http.MethodPost, endpoint, "/v1/load_lora_adapter", `{"lora_name": "travel-helper-v2", "lora_path": "/models/travel-v2"}`)
			g.untilShare(t, 5000)
			g.shares(t, 0.5, c.constant)
			g.ask(t, rollout.VerbPromote, 0)
			g.untilShare(t, rollout.Whole)
			g.shares(t, 1, c.constant)
			if got := read(t, g.dir+"/1-models.yaml"); got != files["1-models.yaml"] {
				t.Error("the user's objects have been written")
			}
		})
	}
}

// shares asks as many sessions and checks which part of them the new adapter answers,
// and under which name.
func (g *gateway) shares(t *testing.T, want float64, constant bool) {
	t.Helper()
	const sessions = 100
	n := 0
	for i := range sessions {
		text, name, err := g.travel(t.Context(), fmt.Sprint("user-", i))
		if err != nil {
			t.Fatal(err)
		}
		if constant && name != "travelhelper" {
			t.Fatalf("the client sees the model %q", name)
		}
		if strings.Contains(text, "travel-helper-v2") {
			n++
		} else if !strings.Contains(text, "travel-helper-v1") {
			t.Fatalf("who answers: %s", text)
		}
	}
	if got := float64(n) / sessions; got < want-0.2 || got > want+0.2 || want == 0 && n > 0 || want == 1 && n < sessions {
		t.Errorf("the new adapter answers %d of %d sessions, want %g", n, sessions, want)
	}
}

func (g *gateway) travel(ctx context.Context, session string) (text, model string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, g.url("/v1/chat/completions"),
		strings.NewReader(`{"model":"travelhelper","max_tokens":16,"messages":[{"role":"user","content":"Who are you?"}]}`))
	if err != nil {
		return "", "", err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Session-Id", session)
	resp, err := g.client.Do(r)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", "", err
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil || resp.StatusCode != http.StatusOK {
		return "", "", fmt.Errorf("status %d: %s (%w)", resp.StatusCode, body, err)
	}
	return a.text(), a.Model, nil
}
