package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/translate"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// subject is a rollout with what its object says of plan and state.
type subject struct {
	object *cfv1a1.InferenceRollout
	plan   rollout.Plan
	wrong  []error // with the plan
	state  rollout.State
}

// readSubject reads the machine's memory of the status; a rollout without one has
// not begun.
func readSubject(o *cfv1a1.InferenceRollout) (*subject, error) {
	s := &subject{object: o}
	s.plan, s.wrong = translate.PlanOf(o)
	if o.Status.Machine == "" {
		return s, nil
	}
	if err := json.Unmarshal([]byte(o.Status.Machine), &s.state); err != nil {
		return nil, fmt.Errorf("InferenceRollout %s/%s: status.machine cannot be read: %w; is this crossfade as new as the one that runs?", o.Namespace, o.Name, err)
	}
	return s, nil
}

func (s *subject) name() string { return s.object.Namespace + "/" + s.object.Name }

func (s *subject) report() *rollout.Report {
	r := rollout.Explain(&s.plan, &s.state)
	return &r
}

// current reports whether the state is about the plan as it is now: after an edit it
// takes a moment until the machine has seen it.
func (s *subject) current() bool {
	if s.plan.Attempt > s.state.SpecAttempt {
		return false
	}
	key := s.plan.Key()
	return key == s.state.Key || key == s.state.PromotedKey || key == s.state.AbortedKey
}

// notes are what a screen says of the object beside its report.
func (s *subject) notes() []string {
	var out []string
	for _, err := range s.wrong {
		out = append(out, "✖ "+err.Error())
	}
	for _, c := range s.object.Status.Conditions {
		if c.Type == "Accepted" && c.Status == metav1.ConditionFalse && len(s.wrong) == 0 {
			out = append(out, fmt.Sprintf("✖ not accepted (%s): %s", c.Reason, c.Message))
		}
	}
	if s.state.Refused != "" {
		out = append(out, "⚠ the last request was refused: "+s.state.Refused)
	}
	if s.state.Number == 0 && len(out) == 0 {
		out = append(out, "No attempt has begun: the controller, or crossfade up, begins it with its next look at the gateways.")
	}
	return append(out, s.finish()...)
}

// one returns the home that the flags say, and in it the rollout of a name; "" is the
// only one.
func (f *rolloutFlags) one(cmd *cobra.Command, name string) (home, *subject, error) {
	h, err := f.home(cmd)
	if err != nil {
		return nil, nil, err
	}
	s, err := f.find(cmd.Context(), h, name)
	return h, s, err
}

// find returns the rollout of a name; "" is the only one.
func (f *rolloutFlags) find(ctx context.Context, h home, name string) (*subject, error) {
	o, err := f.object(ctx, h, name)
	if err != nil {
		return nil, err
	}
	return readSubject(o)
}

func (f *rolloutFlags) object(ctx context.Context, h home, name string) (*cfv1a1.InferenceRollout, error) {
	namespace, name, err := f.split(h, name)
	if err != nil {
		return nil, err
	}
	if name != "" && namespace != "" {
		return h.get(ctx, namespace, name)
	}
	all, err := h.list(ctx, f.namespace)
	if err != nil {
		return nil, err
	}
	if name != "" {
		all = slices.DeleteFunc(all, func(o *cfv1a1.InferenceRollout) bool { return o.Name != name })
	}
	switch {
	case len(all) == 1:
		return all[0], nil
	case len(all) == 0 && name != "":
		return nil, fmt.Errorf("%s: %w", name, errNoRollout)
	case len(all) == 0:
		return nil, errors.New("there is no InferenceRollout; apply one first")
	}
	return nil, fmt.Errorf("there are %d InferenceRollouts; name one of %s", len(all), names(all))
}

// split takes a name apart. Without a namespace it is in that of -n, or the home's.
func (f *rolloutFlags) split(h home, name string) (namespace, base string, err error) {
	before, after, qualified := strings.Cut(name, "/")
	switch {
	case name == "":
		return f.namespace, "", nil
	case qualified && (before == "" || after == "" || strings.Contains(after, "/")):
		return "", "", fmt.Errorf("%q is not name or namespace/name", name)
	case qualified && f.namespace != "" && f.namespace != before:
		return "", "", fmt.Errorf("%q is not in the namespace %q of --namespace; leave one of them out", name, f.namespace)
	case qualified:
		return before, after, nil
	case f.namespace != "":
		return f.namespace, name, nil
	}
	return h.namespace(), name, nil
}

func names(all []*cfv1a1.InferenceRollout) string {
	const most = 10
	var out []string
	for i, o := range all {
		if i == most {
			out = append(out, "…")
			break
		}
		out = append(out, o.Namespace+"/"+o.Name)
	}
	return strings.Join(out, ", ")
}
