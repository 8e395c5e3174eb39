package kube

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/translate"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	coreclient "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/record"
)

// Reasons of our events.
const (
	errorReason   = "NotAsAskedFor"
	warningReason = "ProbablyNotMeant"
	solvedReason  = "Solved"
)

// maxEvent is how long an event's message may be, in bytes (core/v1).
const maxEvent = 1024

// Events tells the problems of objects as events on them, for kubectl describe.
type Events struct {
	source *Source

	mu       sync.Mutex
	problems map[translate.Problem]bool // nil before Set
	recorder record.EventRecorder       // nil before Run
	untold   []telling                  // before Run
}

// telling is an event that waits for Run.
type telling struct {
	ref                   translate.ObjectRef
	kind, reason, message string
}

// maxUntold bounds what waits for Run; older events give way.
const maxUntold = 100

// NewEvents returns events on the objects of s.
func NewEvents(s *Source) *Events { return &Events{source: s} }

// Set replaces the problems there are, all of them. Each problem that is new makes
// one event, and an object whose last problem is gone makes one that says so; more
// than a few dozen events on one object are dropped by the client's own limits. It
// does not wait.
func (e *Events) Set(problems []translate.Problem) {
	now := make(map[translate.Problem]bool, len(problems))
	troubled := map[translate.ObjectRef]bool{}
	for _, p := range problems {
		now[p] = true
		troubled[p.Ref] = true
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	before := e.problems
	e.problems = now
	for p := range now {
		if !before[p] {
			e.record(p)
		}
	}
	solved := map[translate.ObjectRef]bool{}
	for p := range before {
		if !troubled[p.Ref] && !solved[p.Ref] {
			solved[p.Ref] = true
			e.send(p.Ref, corev1.EventTypeNormal, solvedReason, "nothing is wrong with it any longer")
		}
	}
}

// Tell makes an event on a rollout. Alarms, and what somebody should look at, are
// warnings. It does not wait; before Run the last few dozen are kept.
func (e *Events) Tell(o *cfv1a1.InferenceRollout, reason, message string, alarm bool) {
	told := telling{
		ref:  translate.ObjectRef{Group: cfv1a1.Group, Kind: "InferenceRollout", Namespace: o.Namespace, Name: o.Name},
		kind: corev1.EventTypeNormal, reason: reason, message: message,
	}
	if alarm || slices.Contains(unwelcome, reason) {
		told.kind = corev1.EventTypeWarning
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.recorder == nil {
		e.untold = append(e.untold[max(0, len(e.untold)+1-maxUntold):], told)
		return
	}
	e.send(told.ref, told.kind, told.reason, told.message)
}

// unwelcome are reasons of package rollout and conductor that are no alarm, and yet
// somebody should know.
var unwelcome = []string{
	"Aborted", "GuardrailFailed", "FewEndpoints", "StableDegraded", "ProviderStalled", "InsufficientData",
	"StepDeadline", "TotalDeadline", "WarmupTimeout", "UnknownState", "UnknownStep", "RequestRefused", "RequestUnreadable", "PassedWithoutPower",
}

// Run sends events until ctx ends; problems known before are told first.
func (e *Events) Run(ctx context.Context) error {
	client, err := coreclient.NewForConfig(e.source.cfg)
	if err != nil {
		return err
	}
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	sink := broadcaster.StartRecordingToSink(&coreclient.EventSinkImpl{Interface: client.Events("")})
	defer sink.Stop()
	e.mu.Lock()
	e.recorder = broadcaster.NewRecorder(runtime.NewScheme(), corev1.EventSource{Component: fieldManager})
	for p := range e.problems {
		e.record(p)
	}
	for _, told := range e.untold {
		e.send(told.ref, told.kind, told.reason, told.message)
	}
	e.untold = nil
	e.mu.Unlock()
	<-ctx.Done()
	e.mu.Lock()
	e.recorder = nil
	e.mu.Unlock()
	return nil
}

// record makes an event of a problem. The lock is held.
func (e *Events) record(p translate.Problem) {
	message := p.Message
	if p.Field != "" {
		message = p.Field + ": " + message
	}
	if p.Remedy != "" {
		message = fmt.Sprintf("%s (%s)", message, p.Remedy)
	}
	reason := errorReason
	if p.Severity == translate.Warning {
		reason = warningReason
	}
	e.send(p.Ref, corev1.EventTypeWarning, reason, message)
}

// send makes an event on an object that is known. The lock is held.
func (e *Events) send(ref translate.ObjectRef, kind, reason, message string) {
	uid, version, ok := e.source.identify(ref)
	if e.recorder == nil || !ok {
		return
	}
	if len(message) > maxEvent {
		message = strings.ToValidUTF8(message[:maxEvent-len("…")], "") + "…"
	}
	e.recorder.Event(&corev1.ObjectReference{
		APIVersion: schema.GroupVersion{Group: ref.Group, Version: version}.String(), Kind: ref.Kind,
		Namespace: ref.Namespace, Name: ref.Name, UID: uid,
	}, kind, reason, message)
}

// identify returns the UID of an object that a watch has, and the version of the
// API it is read in.
func (s *Source) identify(ref translate.ObjectRef) (types.UID, string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}
	for at, w := range s.watches {
		if at.Group != ref.Group || at.Kind != ref.Kind {
			continue
		}
		if en := w.store.objects[name]; en != nil {
			return en.uid, at.version, true
		}
	}
	return "", "", false
}
