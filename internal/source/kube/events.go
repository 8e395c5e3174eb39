package kube

import (
	"context"
	"fmt"
	"strings"
	"sync"

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
}

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
			switch {
			case en.object != nil:
				return en.object.GetUID(), at.version, true
			case en.live != nil:
				return en.live.uid, at.version, true
			}
		}
	}
	return "", "", false
}
