package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/conductor"
	"crossfade.dev/internal/translate"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
)

// maxMachine bounds the machine's memory in a status, in bytes: what fits into
// etcd's 1.5 MB several times, since objects are written and watched whole.
const maxMachine = 256 << 10

// RolloutStore writes the statuses of InferenceRollouts, all but the requests of
// operators and the conditions of others. A write happens only over the status that
// it was made from.
type RolloutStore struct {
	source *Source
	client dynamic.Interface

	mu sync.Mutex
	// last are our own last writes, which watches may have yet to bring.
	last map[translate.ObjectRef]*live
}

var _ conductor.Store = (*RolloutStore)(nil)

// NewRolloutStore returns a store of the rollouts of s, whose Options have Statuses
// set. It fails when no client can be made.
func NewRolloutStore(s *Source) (*RolloutStore, error) {
	client, err := dynamic.NewForConfig(s.cfg)
	if err != nil {
		return nil, fmt.Errorf("write statuses of rollouts: %w", err)
	}
	return &RolloutStore{source: s, client: client, last: map[translate.ObjectRef]*live{}}, nil
}

// Write makes next's status that of the object, see conductor.Store. It is refused
// with conductor.ErrStale when the object's status.machine is not base's, or it
// has an epoch above next's, and with conductor.ErrGone when there is no such object
// any more. An error of another kind says which object could not be written and why.
func (s *RolloutStore) Write(ctx context.Context, base, next *cfv1a1.InferenceRollout) error {
	ref := translate.ObjectRef{Group: cfv1a1.Group, Kind: "InferenceRollout", Namespace: base.Namespace, Name: base.Name}
	want, err := statusMap(next)
	if err != nil {
		return statusError(ref, err)
	}
	now := s.known(ref, base)
	for range maxConflicts {
		if now == nil {
			if now, err = s.read(ctx, ref); err != nil {
				return s.refused(ref, err)
			}
			if err := stale(now, base, next); err != nil {
				s.forget(ref)
				return err
			}
		}
		result, err := s.patch(ctx, ref, now, want)
		if err == nil {
			s.remember(ref, result)
			return nil
		}
		if !apierrors.IsConflict(err) {
			return s.refused(ref, err)
		}
		now = nil // somebody else has written: look whether that concerns us
	}
	return statusError(ref, fmt.Errorf("others wrote it %d times meanwhile", maxConflicts))
}

// known is the object as the watch or our own last write has it, if that is what base
// came from; nil: it must be read.
func (s *RolloutStore) known(ref translate.ObjectRef, base *cfv1a1.InferenceRollout) *live {
	s.mu.Lock()
	last := s.last[ref]
	s.mu.Unlock()
	for _, l := range []*live{s.source.live(ref), last} {
		if l != nil && stale(l, base, nil) == nil {
			return l
		}
	}
	return nil
}

// stale says why a status made from base must not be written over now; nil when it
// may. A next of nil is of any epoch.
func stale(now *live, base, next *cfv1a1.InferenceRollout) error {
	if now.uid != base.UID {
		return conductor.ErrGone
	}
	if text(now.status, "machine") != base.Status.Machine {
		return conductor.ErrStale
	}
	if next != nil && epochOf(now.status) > epoch(next) {
		return conductor.ErrStale
	}
	return nil
}

// epochOf is the epoch of the leader that wrote a status.
func epochOf(status map[string]any) int64 {
	shares, _ := status["shares"].(map[string]any)
	n, _ := shares["epoch"].(int64)
	return n
}

func epoch(o *cfv1a1.InferenceRollout) int64 {
	if o.Status.Shares == nil {
		return 0
	}
	return o.Status.Shares.Epoch
}

// refused sorts the error of a request.
func (s *RolloutStore) refused(ref translate.ObjectRef, err error) error {
	if apierrors.IsNotFound(err) {
		s.forget(ref)
		return conductor.ErrGone
	}
	return statusError(ref, err)
}

func (s *RolloutStore) remember(ref translate.ObjectRef, l *live) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.last, func(ref translate.ObjectRef, _ *live) bool { return !s.source.holds(ref) })
	s.last[ref] = l
}

func (s *RolloutStore) forget(ref translate.ObjectRef) {
	s.mu.Lock()
	delete(s.last, ref)
	s.mu.Unlock()
}

func (s *RolloutStore) resource(ref translate.ObjectRef) dynamic.ResourceInterface {
	k := findKind(schema.GroupKind{Group: ref.Group, Kind: ref.Kind})
	return s.client.Resource(schema.GroupVersionResource{Group: ref.Group, Version: k.versions[0], Resource: k.plural}).Namespace(ref.Namespace)
}

func (s *RolloutStore) read(ctx context.Context, ref translate.ObjectRef) (*live, error) {
	o, err := s.resource(ref).Get(ctx, ref.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return liveOf(o, cfv1a1.Version), nil
}

// patch writes what differs between the status now and the one wanted, provided that
// nobody has written since.
func (s *RolloutStore) patch(ctx context.Context, ref translate.ObjectRef, now *live, want map[string]any) (*live, error) {
	target := maps.Clone(want)
	target["conditions"] = ownConditions(list(now.status, "conditions"), list(want, "conditions"))
	if request, ok := now.status["request"]; ok {
		target["request"] = request
	}
	difference := mergePatch(now.status, target)
	if len(difference) == 0 {
		return now, nil
	}
	body, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": now.resourceVersion, "uid": now.uid},
		"status":   difference,
	})
	if err != nil {
		return nil, err
	}
	o, err := s.resource(ref).Patch(ctx, ref.Name, types.MergePatchType, body, metav1.PatchOptions{FieldManager: fieldManager}, "status")
	if err != nil {
		return nil, err
	}
	return liveOf(o, now.version), nil
}

// ownConditions returns live with the conductor's conditions as in want, in the places
// they have. One whose status stays keeps the time of its last transition.
func ownConditions(live, want []any) []any {
	before := map[string]map[string]any{}
	var out []any
	for _, c := range live {
		m, ok := c.(map[string]any)
		if !ok {
			continue
		}
		if kind := text(m, "type"); conductor.OwnsCondition(kind) {
			before[kind] = m
		} else {
			out = append(out, m)
		}
	}
	for _, c := range want {
		m, _ := c.(map[string]any)
		if kind := text(m, "type"); conductor.OwnsCondition(kind) {
			m = maps.Clone(m)
			if was := before[kind]; was != nil && text(was, "status") == text(m, "status") && text(was, "lastTransitionTime") != "" {
				m["lastTransitionTime"] = text(was, "lastTransitionTime")
			}
			out = append(out, m)
		}
	}
	return inPlace(live, out)
}

// mergePatch is the JSON merge patch (RFC 7386) that makes now into want.
func mergePatch(now, want map[string]any) map[string]any {
	patch := map[string]any{}
	for key := range now {
		if _, ok := want[key]; !ok {
			patch[key] = nil
		}
	}
	for key, value := range want {
		to, isMap := value.(map[string]any)
		from, wasMap := now[key].(map[string]any)
		switch {
		case isMap && wasMap:
			if p := mergePatch(from, to); len(p) > 0 {
				patch[key] = p
			}
		case !equality.Semantic.DeepEqual(value, now[key]):
			patch[key] = value
		}
	}
	return patch
}

// statusMap is the status of o but for the request, its words cut to what the API
// server takes: a long message must not keep an abort from being written.
func statusMap(o *cfv1a1.InferenceRollout) (map[string]any, error) {
	s := o.Status
	if n := len(s.Machine); n > maxMachine {
		return nil, fmt.Errorf("what the machine remembers is %d bytes long, more than %d; use fewer guardrails, or fewer quantiles", n, maxMachine)
	}
	s.Request = nil
	s.Phase, s.Message, s.Step = cut(s.Phase, 64), cut(s.Message, 4096), cut(s.Step, 256)
	s.Verdicts = slices.Clone(s.Verdicts)
	for i := range s.Verdicts {
		v := &s.Verdicts[i]
		v.Effect, v.EValue, v.Note = cut(v.Effect, 256), cut(v.EValue, 64), cut(v.Note, 1024)
	}
	s.Conditions = slices.Clone(s.Conditions)
	for i := range s.Conditions {
		c := &s.Conditions[i]
		c.Message = cut(c.Message, 4096)
		if c.LastTransitionTime.IsZero() {
			c.LastTransitionTime = metav1.NewTime(time.Now())
		}
	}
	return runtime.DefaultUnstructuredConverter.ToUnstructured(&s)
}

// cut shortens s to at most n characters.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "�")
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return string([]rune(s)[:n-1]) + "…"
}
