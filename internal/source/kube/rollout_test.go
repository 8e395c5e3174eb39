package kube

import (
	"fmt"
	"testing"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/source"
	"crossfade.dev/internal/translate"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

var rolloutKind = schema.GroupKind{Group: cfv1a1.Group, Kind: "InferenceRollout"}

const aRollout = `
apiVersion: crossfade.dev/v1alpha1
kind: InferenceRollout
metadata: {name: qwen, namespace: chat, uid: "1", resourceVersion: "1"}
spec: {target: {httpRoute: {name: chat}}, stable: {name: a}, candidate: {name: b}}
status:
  phase: Analyzing
  message: watching
  machine: '{}'
  verdicts: [{name: ttft, verdict: Pass}]
  shares: {stable: {name: a}, candidate: {name: b}, set: 500, observed: 480, verified: true, attempt: 1, revision: 3, watched: true}
`

// Of a status that is written every few seconds data planes see what they serve by,
// and nothing is published when that stays.
func TestWhatIsReadOfARolloutsStatus(t *testing.T) {
	for _, c := range []struct {
		name        string
		change      map[string]any // of the status
		gateway, by bool           // sees a change: a gateway, the controller
	}{
		{"nothing", map[string]any{}, false, false},
		{"words and memory", map[string]any{"phase": "Paused", "message": "m", "machine": "{1}", "verdicts": []any{}, "conditions": []any{}}, false, true},
		{"what was observed", map[string]any{"shares": map[string]any{"observed": int64(510), "verified": false}}, false, true},
		{"the share", map[string]any{"shares": map[string]any{"set": int64(1000)}}, true, true},
		{"a task", map[string]any{"shares": map[string]any{"task": map[string]any{"cancel": true}}}, true, true},
		{"a request", map[string]any{"request": map[string]any{"id": "1", "verb": "abort"}}, true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, statuses := range []bool{false, true} {
				s := newWatch(New(nil, Options{Statuses: statuses}), findKind(rolloutKind), key{version: "v1alpha1"}).store
				before, after := readRollout(t), readRollout(t)
				merge(after.Object["status"].(map[string]any), c.change)
				after.SetResourceVersion("2")
				_, first, _ := s.entry(before)
				_, second, _ := s.entry(after)
				name := nameOf(first.object)
				s.set(name, first)
				changed, _ := s.set(name, second)
				if want := map[bool]bool{false: c.gateway, true: c.by}[statuses]; changed != want {
					t.Errorf("statuses %t: changed %t, want %t", statuses, changed, want)
				}
				status := s.objects[name].object.(*cfv1a1.InferenceRollout).Status
				if (status.Machine != "") != statuses || status.Shares == nil || (s.objects[name].live != nil) != statuses {
					t.Errorf("statuses %t: read %+v", statuses, status)
				}
			}
		})
	}
}

func readRollout(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(aRollout), &o.Object); err != nil {
		t.Fatal(err)
	}
	return o
}

// Rollouts come and go with their kind, like all.
func TestRolloutsAreReadWhereTheyAreServed(t *testing.T) {
	s := newAPIServer(t)
	s.remove(findKind(rolloutKind))
	s.apply(t, seed)
	f := follow(t, s, Options{Statuses: true})
	f.until("the rest", holds("HTTPRoute chat/chat"))
	s.install(findKind(rolloutKind))
	s.apply(t, aRollout)
	f.until("a rollout", func(u source.Update) bool { return len(u.Resources.InferenceRollouts) == 1 })
}

const rolloutResource = "inferencerollouts.crossfade.dev"

var rolloutRef = translate.ObjectRef{Group: cfv1a1.Group, Kind: "InferenceRollout", Namespace: "chat", Name: "qwen"}

// Of a rollout's conditions Accepted is the status writer's; the many others stay.
func TestAcceptedStandsBesideOtherConditions(t *testing.T) {
	s := newAPIServer(t)
	o := readRollout(t).Object
	var others []any
	for i := range 12 {
		others = append(others, map[string]any{"type": fmt.Sprintf("C%d", i), "status": "True", "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"})
	}
	o["status"].(map[string]any)["conditions"] = others
	s.put(t, o)
	w, _, writes := writerOf(t, s, "")
	w.Set([]translate.Status{{Ref: rolloutRef, Generation: 1, Conditions: []metav1.Condition{{Type: "Accepted", Status: metav1.ConditionTrue, Reason: "Accepted"}}}})
	await(t, writes, "patch "+rolloutResource+" chat/qwen/status")
	settled(t, w)
	status := s.get(rolloutResource, "chat", "qwen")["status"].(map[string]any)
	if got := list(status, "conditions"); len(got) != 13 || text(got[12].(map[string]any), "type") != "Accepted" {
		t.Errorf("conditions: %v", got)
	}
	if text(status, "machine") == "" {
		t.Error("the machine's memory is gone")
	}
}
