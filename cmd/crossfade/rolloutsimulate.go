package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/rehearsal"
	"crossfade.dev/internal/rollout/screen"
	"crossfade.dev/internal/source/file"
	"crossfade.dev/internal/translate"
	"github.com/spf13/cobra"
)

// simulation is a rehearsal while its flags are read.
type simulation struct {
	traffic rehearsal.Traffic
	factor  float64
	seed    uint64
	runs    int
	limit   time.Duration
	name    string
}

// maxRuns bounds the runs of one command; quantiles need no more.
const maxRuns = 10_000

func newRolloutSimulateCommand(flags *rolloutFlags) *cobra.Command {
	s := simulation{}
	cmd := &cobra.Command{
		Use:   "simulate PATH...",
		Short: "Play a rollout's plan on synthetic traffic, before the real one",
		Long: `Reads an InferenceRollout from YAML and plays its plan, with the machine that
plays it on real traffic, on requests that arrive by chance at the rate, with the
errors and the latencies you say. Answers: would this plan find 2 % errors at my
traffic, how soon, and how long does a good candidate take?

Nothing is started and no time passes. Prints the run's timeline, or with --runs
how many were promoted and aborted, and how long they took. Requests are
independent of each other here; real ones come in sessions and bursts, so real
rollouts take as long or longer. Gates are passed at once, and values from outside
(Prometheus, webhooks) are taken to be good.`,
		Example: `  crossfade rollout simulate rollout.yaml
  crossfade rollout simulate rollout.yaml --rps 5 --candidate-errors 0.02 --runs 100
  crossfade rollout simulate rollout.yaml --candidate-ttft-factor 1.5`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			plan, err := s.plan(cmd, args, flags.namespace)
			if err != nil {
				return err
			}
			return runUntilInterrupt(cmd, func(ctx context.Context) error { return s.run(ctx, cmd.OutOrStdout(), plan) })
		},
	}
	f := cmd.Flags()
	f.Float64Var(&s.traffic.Rate, "rps", 20, "requests a second, of both versions together")
	f.Float64Var(&s.traffic.Stable.Errors, "errors", 0.005, "part of requests that fails, 0 to 1")
	f.Float64Var(&s.traffic.Candidate.Errors, "candidate-errors", -1, "the same of the candidate; -1 = as stable's")
	f.DurationVar(&s.traffic.Stable.TTFT, "ttft", 200*time.Millisecond, "median time to the first token")
	f.Float64Var(&s.factor, "candidate-ttft-factor", 1, "how many times as long it takes the candidate")
	f.IntVar(&s.traffic.Stable.Endpoints, "endpoints", 4, "endpoints of stable")
	f.IntVar(&s.traffic.Candidate.Endpoints, "candidate-endpoints", 0, "endpoints of the candidate; 0 = as stable's")
	f.Uint64Var(&s.seed, "seed", 1, "seed of the first run; equal seeds give equal runs")
	f.IntVar(&s.runs, "runs", 1, "number of runs, each with a seed of its own")
	f.DurationVar(&s.limit, "limit", 24*time.Hour, "longest time of a run, simulated")
	f.StringVar(&s.name, "name", "", "which InferenceRollout, where the files have several")
	return cmd
}

// plan reads the one rollout of the files and fills in what flags leave open.
func (s *simulation) plan(cmd *cobra.Command, paths []string, namespace string) (*rollout.Plan, error) {
	if s.runs < 1 || s.runs > maxRuns {
		return nil, fmt.Errorf("--runs %d: use 1 to %d", s.runs, maxRuns)
	}
	if !(s.factor > 0 && s.factor <= 1000) {
		return nil, fmt.Errorf("--candidate-ttft-factor %v: use more than 0, up to 1000", s.factor)
	}
	if s.limit <= 0 || s.limit > 90*24*time.Hour {
		return nil, fmt.Errorf("--limit %s: use more than 0, up to 2160h", s.limit)
	}
	t := &s.traffic
	if t.Candidate.Errors == -1 {
		t.Candidate.Errors = t.Stable.Errors
	}
	t.Candidate.TTFT = time.Duration(float64(t.Stable.TTFT) * s.factor)
	t.Candidate.Endpoints = cmp.Or(t.Candidate.Endpoints, t.Stable.Endpoints)
	if t.Rate <= 0 || t.Stable.TTFT <= 0 {
		return nil, errors.New("--rps and --ttft must be above 0")
	}
	update, err := file.Load(paths)
	if err != nil {
		return nil, err
	}
	o, err := s.choose(update.Resources.InferenceRollouts, namespace)
	if err != nil {
		for _, p := range update.Problems {
			warn(cmd, "%s: %s", p.Ref, p.Message)
		}
		return nil, err
	}
	plan, errs := translate.PlanOf(o)
	if len(errs) > 0 {
		return nil, fmt.Errorf("InferenceRollout %s/%s: %w", o.Namespace, o.Name, errors.Join(errs...))
	}
	return &plan, nil
}

func (s *simulation) choose(all []*cfv1a1.InferenceRollout, namespace string) (*cfv1a1.InferenceRollout, error) {
	all = slices.DeleteFunc(slices.Clone(all), func(o *cfv1a1.InferenceRollout) bool {
		return s.name != "" && o.Name != s.name || namespace != "" && o.Namespace != namespace
	})
	switch len(all) {
	case 1:
		return all[0], nil
	case 0:
		return nil, errors.New("the files have no such InferenceRollout that can be read; `crossfade check` says what is wrong with them")
	}
	return nil, fmt.Errorf("the files have %d InferenceRollouts; choose one of %s with --name", len(all), names(all))
}

func (s *simulation) run(ctx context.Context, out io.Writer, plan *rollout.Plan) error {
	fmt.Fprintf(out, "%s: %d steps, %.4g requests/s, errors %s and %s, median TTFT %s and %s (stable and candidate), %d and %d endpoints\n",
		plan.Name, len(plan.Steps), s.traffic.Rate, per(s.traffic.Stable.Errors), per(s.traffic.Candidate.Errors),
		rollout.Milliseconds(s.traffic.Stable.TTFT), rollout.Milliseconds(s.traffic.Candidate.TTFT), s.traffic.Stable.Endpoints, s.traffic.Candidate.Endpoints)
	var results []rehearsal.Result
	for i := range s.runs {
		r, err := rehearsal.New(plan, s.traffic, s.seed+uint64(i))
		if err != nil {
			return err
		}
		line := &timeline{out: out, quiet: s.runs > 1}
		result := r.Play(s.limit, func(r *rehearsal.Run, actions []rollout.Action) bool {
			line.add(r, actions)
			return ctx.Err() == nil
		})
		if ctx.Err() != nil {
			break // the runs that are whole count
		}
		results = append(results, result)
	}
	if s.runs == 1 && len(results) == 1 {
		printResult(out, results[0])
		return nil
	}
	printResults(out, results)
	return nil
}

func per(part float64) string { return fmt.Sprintf("%.4g%%", 100*part) }

// timeline prints what happens in a run.
type timeline struct {
	out   io.Writer
	quiet bool
	log   screen.Log
}

func (l *timeline) add(r *rehearsal.Run, actions []rollout.Action) {
	if l.quiet {
		return
	}
	at := fmt.Sprintf("%9s", "+"+screen.Span(r.Took))
	for _, a := range actions {
		if a.Kind == rollout.Tell || a.Kind == rollout.Alarm {
			fmt.Fprintf(l.out, "%s  %s: %s\n", at, a.Reason, a.Message)
		}
	}
	report := rollout.Explain(r.Plan, r.State)
	if text := l.log.Changes(&report); text != "" {
		fmt.Fprintf(l.out, "%s  %s\n", at, text)
	}
}

func printResult(out io.Writer, r rehearsal.Result) {
	fmt.Fprintf(out, "\n%s %s after %s", screen.Icon(r.Phase), r.Phase, screen.Span(r.Took))
	if r.Reason != "" && r.Phase != rollout.Promoted {
		fmt.Fprintf(out, ": %s: %s", r.Reason, r.Message)
	}
	fmt.Fprintf(out, "\nThe candidate had traffic for %s, %d requests; about %.0f of them failed that would not have at stable.\n", screen.Span(r.Exposed), r.Candidate, r.Failed)
	if r.Unpowered {
		fmt.Fprintln(out, "A step passed without enough data to rule harm out: give it more time, or the plan more traffic.")
	}
	if r.Gates > 0 {
		fmt.Fprintf(out, "%s passed at once; a person will take longer.\n", plural(r.Gates, "gate"))
	}
}

// printResults prints how many runs ended how, and quantiles of their times.
func printResults(out io.Writer, results []rehearsal.Result) {
	type outcome struct {
		phase  rollout.Phase
		reason string
	}
	by := map[outcome][]rehearsal.Result{}
	for _, r := range results {
		o := outcome{r.Phase, r.Reason}
		if r.Phase == rollout.Promoted {
			o.reason = ""
		}
		by[o] = append(by[o], r)
	}
	order := make([]outcome, 0, len(by))
	for o := range by {
		order = append(order, o)
	}
	slices.SortFunc(order, func(a, b outcome) int {
		return cmp.Or(cmp.Compare(len(by[b]), len(by[a])), cmp.Compare(a.phase, b.phase), cmp.Compare(a.reason, b.reason))
	})
	table(out, fmt.Sprintf("\nOUTCOME OF %d\tRUNS\tTIME P10\tP50\tP90\tEXPOSED P50\tREQUESTS P50\tFAILED P50", len(results)), func(w io.Writer) {
		for _, o := range order {
			rs, name := by[o], string(o.phase)
			if o.reason != "" {
				name += " (" + o.reason + ")"
			}
			took := func(q float64) string {
				return screen.Span(quantileOf(rs, q, func(r rehearsal.Result) time.Duration { return r.Took }))
			}
			fmt.Fprintf(w, "%s %s\t%d (%s)\t%s\t%s\t%s\t%s\t%d\t%.0f\n", screen.Icon(o.phase), name, len(rs), per(float64(len(rs))/float64(len(results))),
				took(0.1), took(0.5), took(0.9),
				screen.Span(quantileOf(rs, 0.5, func(r rehearsal.Result) time.Duration { return r.Exposed })),
				quantileOf(rs, 0.5, func(r rehearsal.Result) int64 { return r.Candidate }),
				quantileOf(rs, 0.5, func(r rehearsal.Result) float64 { return r.Failed }))
		}
	})
}

func quantileOf[T cmp.Ordered](results []rehearsal.Result, q float64, of func(rehearsal.Result) T) T {
	values := make([]T, len(results))
	for i, r := range results {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[min(int(q*float64(len(values))), len(values)-1)]
}
