package kube

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/conductor"
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

// storeOf returns a store over s, which has aRollout, and its object as the conductor
// gets it.
func storeOf(t *testing.T, s *apiServer) (*RolloutStore, *follower, *cfv1a1.InferenceRollout) {
	t.Helper()
	s.apply(t, aRollout)
	f := follow(t, s, Options{Statuses: true})
	f.until("a rollout", func(u source.Update) bool { return len(u.Resources.InferenceRollouts) == 1 })
	store, err := NewRolloutStore(f.source)
	if err != nil {
		t.Fatal(err)
	}
	return store, f, f.last.Resources.InferenceRollouts[0]
}

// after is o with a status that the conductor has made of it.
func after(o *cfv1a1.InferenceRollout, change func(*cfv1a1.InferenceRolloutStatus)) *cfv1a1.InferenceRollout {
	next := *o
	shares := *o.Status.Shares
	next.Status.Shares = &shares
	next.Status.Verdicts = nil
	change(&next.Status)
	return &next
}

func statusOf(s *apiServer) map[string]any {
	status, _ := s.get(rolloutResource, "chat", "qwen")["status"].(map[string]any)
	return status
}

func TestStoreWritesItsPartOfAStatus(t *testing.T) {
	s := newAPIServer(t)
	o := readRollout(t).Object
	status := o["status"].(map[string]any)
	status["request"] = map[string]any{"id": "7", "verb": "pause"}
	status["conditions"] = []any{
		map[string]any{"type": "Promoted", "status": "False", "reason": "InProgress", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"},
		map[string]any{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "", "lastTransitionTime": "2026-01-02T00:00:00Z"},
		map[string]any{"type": "example.com/Paid", "status": "True", "reason": "Yes", "message": "", "lastTransitionTime": "2026-01-03T00:00:00Z"},
	}
	store, _, base := storeOf(t, s)
	s.put(t, o)
	now := metav1.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC)
	next := after(base, func(st *cfv1a1.InferenceRolloutStatus) {
		st.Phase, st.Machine, st.Message = "Paused", "{1}", strings.Repeat("ö", 5000)
		st.Shares.Observed, st.Shares.Task = nil, &cfv1a1.RolloutTask{Cancel: true}
		st.Request = nil
		for _, c := range []string{"Accepted", "Promoted", "Healthy"} {
			st.Conditions = append(st.Conditions, metav1.Condition{Type: c, Status: metav1.ConditionFalse, Reason: "Conductor", LastTransitionTime: now})
		}
	})
	if err := store.Write(t.Context(), base, next); err != nil {
		t.Fatal(err)
	}
	got := statusOf(s)
	if text(got, "phase") != "Paused" || text(got, "machine") != "{1}" || utf8.RuneCountInString(text(got, "message")) != 4096 {
		t.Errorf("status: %v", got)
	}
	shares := got["shares"].(map[string]any)
	if shares["observed"] != nil || shares["task"] == nil || got["verdicts"] != nil {
		t.Errorf("what is gone stays, or what is new does not come: %v", got)
	}
	if request, _ := got["request"].(map[string]any); text(request, "id") != "7" {
		t.Errorf("the operator's request: %v", got["request"])
	}
	var lines []string
	for _, c := range list(got, "conditions") {
		m := c.(map[string]any)
		lines = append(lines, fmt.Sprint(text(m, "type"), " ", text(m, "reason"), " ", text(m, "lastTransitionTime")[:10]))
	}
	if want := []string{"Promoted Conductor 2026-01-01", "Accepted Accepted 2026-01-02", "example.com/Paid Yes 2026-01-03", "Healthy Conductor 2026-05-01"}; !slices.Equal(lines, want) {
		t.Errorf("conditions %q, want %q", lines, want)
	}
	// Its own write is what the next one comes from, whether or not a watch has
	// brought it.
	again := after(next, func(st *cfv1a1.InferenceRolloutStatus) { st.Machine = "{2}" })
	if err := store.Write(t.Context(), next, again); err != nil || text(statusOf(s), "machine") != "{2}" {
		t.Errorf("the next write: %v, machine %s", err, text(statusOf(s), "machine"))
	}
	// Nothing differs: nothing is written.
	s.wrote = func(what string) { t.Errorf("wrote %s", what) }
	if err := store.Write(t.Context(), again, again); err != nil {
		t.Error(err)
	}
}

// Whoever comes late does not write over what came after the status it knows.
func TestStoreRefusesAStaleStatus(t *testing.T) {
	for _, c := range []struct {
		name   string
		change map[string]any // by somebody else, of the status
		epoch  int64          // of the write
		want   error
	}{
		{"a request", map[string]any{"request": map[string]any{"id": "1", "verb": "abort"}}, 3, nil},
		{"another condition", map[string]any{"conditions": []any{}}, 3, nil},
		{"a memory", map[string]any{"machine": "{9}"}, 3, conductor.ErrStale},
		{"a newer leader", map[string]any{"shares": map[string]any{"epoch": int64(4)}}, 3, conductor.ErrStale},
		{"the same leader", map[string]any{"shares": map[string]any{"epoch": int64(3)}}, 3, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newAPIServer(t)
			store, _, base := storeOf(t, s)
			o := s.get(rolloutResource, "chat", "qwen")
			merge(o["status"].(map[string]any), c.change)
			s.put(t, o)
			next := after(base, func(st *cfv1a1.InferenceRolloutStatus) { st.Machine, st.Shares.Epoch = "{1}", c.epoch })
			if err := store.Write(t.Context(), base, next); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("%v, want %v", err, c.want)
			}
			if got := text(statusOf(s), "machine") == "{1}"; got != (c.want == nil) {
				t.Errorf("written: %t", got)
			}
			if c.name == "a request" && statusOf(s)["request"] == nil {
				t.Error("the request is gone")
			}
		})
	}
}

func TestStoreOfARolloutThatIsGone(t *testing.T) {
	s := newAPIServer(t)
	store, _, base := storeOf(t, s)
	next := after(base, func(st *cfv1a1.InferenceRolloutStatus) { st.Machine = "{1}" })
	s.delete(rolloutResource, "chat", "qwen")
	if err := store.Write(t.Context(), base, next); !errors.Is(err, conductor.ErrGone) {
		t.Errorf("gone: %v", err)
	}
	namesake := readRollout(t).Object
	namesake["metadata"].(map[string]any)["uid"] = "2"
	s.put(t, namesake)
	if err := store.Write(t.Context(), base, next); !errors.Is(err, conductor.ErrGone) {
		t.Errorf("its namesake: %v", err)
	}
}

func TestStoreSaysWhatCannotBeWritten(t *testing.T) {
	s := newAPIServer(t)
	store, _, base := storeOf(t, s)
	long := after(base, func(st *cfv1a1.InferenceRolloutStatus) { st.Machine = strings.Repeat("x", maxMachine+1) })
	if err := store.Write(t.Context(), base, long); err == nil || !strings.Contains(err.Error(), "InferenceRollout chat/qwen") || !strings.Contains(err.Error(), "fewer guardrails") {
		t.Errorf("a long memory: %v", err)
	}
	s.writeFault = func(string) int { return 409 }
	next := after(base, func(st *cfv1a1.InferenceRolloutStatus) { st.Machine = "{1}" })
	if err := store.Write(t.Context(), base, next); err == nil || !strings.Contains(err.Error(), "others wrote it 4 times") {
		t.Errorf("conflicts without end: %v", err)
	}
	s.writeFault = func(string) int { return 403 }
	if err := store.Write(t.Context(), base, next); err == nil || !strings.Contains(err.Error(), "InferenceRollout chat/qwen") {
		t.Errorf("no right: %v", err)
	}
}
