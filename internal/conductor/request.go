package conductor

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"unicode"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
)

// request is the next request the object holds that was not taken up yet, nil for
// none: that in the status before that in the annotation, but an abort first.
func (w *worker) request() *rollout.Request {
	var next *rollout.Request
	for _, r := range requestsOf(w.object) {
		if w.state.Took(r.ID) || next != nil && r.Verb != rollout.VerbAbort {
			continue
		}
		next = r
	}
	return next
}

// requestsOf returns what operators ask of a rollout.
func requestsOf(o *cfv1a1.InferenceRollout) []*rollout.Request {
	var out []*rollout.Request
	if r := o.Status.Request; r != nil {
		out = append(out, RequestOf(r))
	}
	if r, err := annotated(o); err == nil && r != nil {
		out = append(out, RequestOf(r))
	}
	return out
}

// annotated is the request in the object's annotation, nil for none.
func annotated(o *cfv1a1.InferenceRollout) (*cfv1a1.RolloutRequest, error) {
	text := o.Annotations[cfv1a1.RequestAnnotation]
	if text == "" {
		return nil, nil
	}
	r := &cfv1a1.RolloutRequest{}
	return r, json.Unmarshal([]byte(text), r)
}

// warnOfRequest tells of a request in the annotation that cannot be read, once.
func (w *worker) warnOfRequest() {
	text := w.object.Annotations[cfv1a1.RequestAnnotation]
	if _, err := annotated(w.object); err != nil && text != w.warnedOf {
		w.c.o.Teller.Tell(w.object, "RequestUnreadable", fmt.Sprintf("the annotation %s is no JSON of a request: %v", cfv1a1.RequestAnnotation, err), false)
	}
	w.warnedOf = text
}

// RequestOf makes the machine's request of an object's. One without an ID gets one
// made of what it says: it acts once, too.
func RequestOf(r *cfv1a1.RolloutRequest) *rollout.Request {
	out := &rollout.Request{ID: r.ID, Verb: rollout.Verb(clip(r.Verb, 64)), Attempt: r.Attempt, Reason: clip(r.Reason, 1024), By: clip(r.By, 256), Share: -1}
	if p := r.Percent * 100; p >= 0 && p <= float64(rollout.Whole) {
		out.Share = rollout.Share(math.Round(p))
	}
	if out.ID == "" || len(out.ID) > maxID {
		out.ID = digest(fmt.Sprintf("%+v", *r))
	}
	return out
}

// maxID is how long a request's ID may be, in bytes.
const maxID = 128

// clip shortens what an annotation, unlike a status, may have of any length: the state
// remembers it. Control characters become spaces: what people wrote is shown in others'
// terminals.
func clip(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "") + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "content-" + hex.EncodeToString(sum[:6])
}

// fingerprint is what a step is made at once for when it changes.
func fingerprint(s subject) string {
	parts := []any{s.accepted != nil, s.object.Generation, s.object.Status.Request, s.object.Annotations[cfv1a1.RequestAnnotation]}
	if s.accepted != nil {
		parts = append(parts, s.accepted.Plan, s.accepted.Providers)
	}
	return text(parts)
}
