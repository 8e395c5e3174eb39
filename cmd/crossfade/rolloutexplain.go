package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"crossfade.dev/internal/rollout"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func newRolloutExplainCommand(flags *rolloutFlags) *cobra.Command {
	return &cobra.Command{
		Use:   "explain [NAME] [GUARDRAIL]",
		Short: "Say in words and numbers why a rollout does what it does",
		Long: `Says what the rollout waits for and what comes next, and for each guardrail (or
the one named) what was compared: counts by stratum, the effect with its interval,
the e-values of harm and of a pass against those that decide, and what would
change the verdict: how many more requests, or which counts.`,
		Example: `  crossfade rollout explain
  crossfade rollout explain chat/qwen3 ttft`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, err := flags.home(cmd)
			if err != nil {
				return err
			}
			name, guardrail := argument(args, 0), argument(args, 1)
			s, err := flags.find(cmd.Context(), h, name)
			if len(args) == 1 && (errors.Is(err, errNoRollout) || apierrors.IsNotFound(err)) {
				// Perhaps the one word is a guardrail of the only rollout.
				only, onlyErr := flags.find(cmd.Context(), h, "")
				if onlyErr == nil && only.watches(name) {
					s, guardrail, err = only, name, nil
				}
			}
			if err != nil {
				return err
			}
			text, err := s.explain(guardrail)
			if err != nil {
				return err
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	}
}

// watches reports whether the rollout has a guardrail of that name.
func (s *subject) watches(guardrail string) bool {
	_, ok := rollout.ExplainGuardrail(&s.plan, &s.state, guardrail)
	return ok
}

func (s *subject) explain(guardrail string) (string, error) {
	if guardrail != "" {
		text, ok := rollout.ExplainGuardrail(&s.plan, &s.state, guardrail)
		if !ok {
			return "", fmt.Errorf("%s does not watch %q; it watches %s", s.name(), guardrail, strings.Join(s.guardrails(), ", "))
		}
		return text, nil
	}
	var b strings.Builder
	b.WriteString(s.story())
	for _, g := range s.guardrails() {
		text, _ := rollout.ExplainGuardrail(&s.plan, &s.state, g)
		b.WriteString("\n" + text)
	}
	return b.String(), nil
}

func (s *subject) guardrails() (out []string) {
	for _, g := range s.plan.Analysis.Guardrails {
		out = append(out, g.Name)
	}
	return out
}

// story says how the rollout stands, what it waits for and what comes next.
func (s *subject) story() string {
	r := s.report()
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %s", s.name(), r.Phase)
	if r.Number > 0 {
		fmt.Fprintf(&b, ", attempt %d of %s instead of %s", r.Number, r.Candidate, r.Stable)
	}
	if r.Doing != "" && r.Phase.Running() {
		fmt.Fprintf(&b, ", at step %d of %d (%s)", r.Step, r.Steps, r.Doing)
	}
	fmt.Fprintf(&b, ".\nIts share is %s", r.Set)
	switch {
	case r.Number == 0:
		b.WriteString(".\n")
	case r.Verified:
		b.WriteString(", and every gateway serves it.\n")
	default:
		b.WriteString(", which is not in force at every gateway yet.\n")
	}
	switch {
	case r.Next == "":
	case r.Phase == rollout.Paused:
		fmt.Fprintf(&b, "It stands still for a person: %s. resume or promote goes on, abort goes back.\n", r.Next)
	case r.Waits:
		fmt.Fprintf(&b, "It waits: %s.\n", r.Next)
	default:
		fmt.Fprintf(&b, "%s.\n", r.Next)
	}
	if r.Due.What != "" {
		fmt.Fprintf(&b, "Next by itself: %s", r.Due.What)
		if !r.Due.At.IsZero() {
			fmt.Fprintf(&b, ", at %s if nothing holds it up", r.Due.At.Local().Format("15:04:05"))
		}
		b.WriteString(".\n")
	}
	for _, n := range s.notes() {
		b.WriteString(n + "\n")
	}
	return b.String()
}
