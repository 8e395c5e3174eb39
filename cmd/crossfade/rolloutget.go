package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/screen"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

func newRolloutGetCommand(flags *rolloutFlags) *cobra.Command {
	var follow bool
	var format string
	cmd := &cobra.Command{
		Use:   "get [NAME]",
		Short: "Show one rollout: how it stands, why, and what comes next",
		Long: `Shows one rollout on one screen: phase, step and the next thing that happens by
itself; the share that is set and the one observed; every guardrail with both
versions' figures, the odds ratio with its 95 % interval and the e-value of harm
against the value at which it fails; endpoints, and past attempts. Once promoted
it says what to edit in Git.

With -w the screen is renewed once a second until Ctrl-C. Where stdout is no
terminal, -w prints one line for each change instead, which makes a log for CI.`,
		Example: `  crossfade rollout get
  crossfade rollout get chat/qwen3 -w
  crossfade rollout get qwen3 -o yaml --context production`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			if follow && format != "" {
				return fmt.Errorf("-w and -o %s do not go together; leave one out", format)
			}
			h, s, err := flags.one(cmd, argument(args, 0))
			if err != nil {
				return err
			}
			t := flags.terminal(cmd)
			switch {
			case follow:
				return runUntilInterrupt(cmd, func(ctx context.Context) error { return flags.watch(ctx, h, s, t) })
			case format != "":
				return printObjects(t.out, format, withType(s.object))
			}
			o := t.options()
			o.Now = time.Now()
			_, err = io.WriteString(t.out, screen.Print(s.report(), o, s.notes()...))
			return err
		},
	}
	cmd.Flags().BoolVarP(&follow, "watch", "w", false, "renew the screen once a second; without a terminal, print a line for each change")
	addFormat(cmd, &format)
	return cmd
}

func newRolloutListCommand(flags *rolloutFlags) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List rollouts, of all namespaces unless -n names one",
		Example: `  crossfade rollout list
  crossfade rollout list -n chat -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			h, err := flags.home(cmd)
			if err != nil {
				return err
			}
			all, err := h.list(cmd.Context(), flags.namespace)
			if err != nil {
				return err
			}
			t := flags.terminal(cmd)
			if format != "" {
				list := &rolloutList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "List"}, Items: []*cfv1a1.InferenceRollout{}}
				for _, o := range all {
					list.Items = append(list.Items, withType(o))
				}
				return printObjects(t.out, format, list)
			}
			return printList(t, all)
		},
	}
	addFormat(cmd, &format)
	return cmd
}

type rolloutList struct {
	metav1.TypeMeta `json:",inline"`
	Items           []*cfv1a1.InferenceRollout `json:"items"`
}

func printList(t terminal, all []*cfv1a1.InferenceRollout) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(t.out, "no rollouts")
		return err
	}
	var reports []*rollout.Report
	for _, o := range all {
		s, err := readSubject(o)
		if err != nil { // the others are shown all the same
			reports = append(reports, &rollout.Report{Name: o.Namespace + "/" + o.Name, Phase: rollout.Phase(o.Status.Phase), Next: err.Error()})
			continue
		}
		r := s.report()
		if len(s.wrong) > 0 {
			r.Next = s.wrong[0].Error()
		}
		reports = append(reports, r)
	}
	o := t.options()
	o.Now = time.Now()
	_, err := io.WriteString(t.out, screen.Table(reports, o))
	return err
}

func argument(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

func addFormat(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVarP(format, "output", "o", "", "print the object as it is: json or yaml")
}

func checkFormat(format string) error {
	switch format {
	case "", "json", "yaml":
		return nil
	}
	return fmt.Errorf("--output %q is not json or yaml", format)
}

// withType names the kind, which lists leave out.
func withType(o *cfv1a1.InferenceRollout) *cfv1a1.InferenceRollout {
	c := *o
	c.TypeMeta = metav1.TypeMeta{APIVersion: cfv1a1.Group + "/" + cfv1a1.Version, Kind: "InferenceRollout"}
	return &c
}

func printObjects(out io.Writer, format string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	text = append(text, '\n')
	if format == "yaml" {
		if text, err = yaml.JSONToYAML(text); err != nil {
			return err
		}
	}
	_, err = out.Write(text)
	return err
}
