package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	cfv1a1 "crossfade.dev/api/v1alpha1"
	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/source/kube"
	"github.com/spf13/cobra"
)

// verbCommand is an operator's verb while its flags are read.
type verbCommand struct {
	*rolloutFlags
	verb    rollout.Verb
	percent float64
	reason  string
	noWait  bool
}

// newRolloutVerbCommands returns a command for each verb.
func newRolloutVerbCommands(flags *rolloutFlags) []*cobra.Command {
	var full bool
	promote := newVerbCommand(flags, rollout.VerbPromote, "promote NAME", "End the current step, whatever it waits for",
		`Ends the current step: a gate, a hold, an analysis, a warm-up. A step that sets a
share is not skipped. With --full all shares left are skipped: the candidate gets
all traffic at once, as far as its endpoints can take it, then the plan's soak
follows. Guardrails stay on.`, "  crossfade rollout promote qwen3\n  crossfade rollout promote qwen3 --full --reason \"tested all week\"")
	promote.cmd.Flags().BoolVar(&full, "full", false, "go to all traffic at once")
	promote.cmd.PreRun = func(*cobra.Command, []string) {
		if full {
			promote.v.verb = rollout.VerbPromoteFull
		}
	}
	share := newVerbCommand(flags, rollout.VerbSetShare, "set-share NAME PERCENT", "Give the candidate a share by hand, and pause there",
		`Gives the candidate this share of the traffic, 0 to 100 in steps of 0.01, lower
or higher than now, and pauses: resume goes on with the plan. More than its
endpoints can take is refused.`, "  crossfade rollout set-share qwen3 2.5")
	share.cmd.Args = cobra.ExactArgs(2)
	share.cmd.PreRunE = func(_ *cobra.Command, args []string) (err error) {
		share.v.percent, err = readPercent(args[1])
		return err
	}
	out := []*cobra.Command{promote.cmd, share.cmd}
	for _, x := range []struct {
		verb                 rollout.Verb
		short, long, example string
	}{
		{rollout.VerbPause, "Stop going on until resume", `Shares stay as they are and guardrails stay on, but no step is begun or ended.`, ""},
		{rollout.VerbResume, "Go on after a pause", `Goes on with the step at which the rollout was paused; its time begins anew. A
guardrail that had asked for the pause does not ask again in this attempt.`, ""},
		{rollout.VerbAbort, "Take all traffic from the candidate, at once", `Takes all traffic from the candidate. Nothing is asked and nothing can refuse it
while an attempt is under way: gateways follow as soon as they see it. Running
answers are finished, unless spec.abort.inFlight is Cancel.`, "  crossfade rollout abort qwen3\n  crossfade rollout abort chat/qwen3 --reason \"answers are cut\""},
		{rollout.VerbRetry, "Try an aborted candidate again, from the first step", `The same users go first as before.`, ""},
		{rollout.VerbUndo, "Go back to stable after promotion", `Takes all traffic from a promoted candidate, as an abort does.`, ""},
	} {
		example := x.example
		if example == "" {
			example = fmt.Sprintf("  crossfade rollout %s qwen3", x.verb)
		}
		out = append(out, newVerbCommand(flags, x.verb, string(x.verb)+" NAME", x.short, x.long, example).cmd)
	}
	return out
}

type verbAndCommand struct {
	v   *verbCommand
	cmd *cobra.Command
}

func newVerbCommand(flags *rolloutFlags, verb rollout.Verb, use, short, long, example string) verbAndCommand {
	v := &verbCommand{rolloutFlags: flags, verb: verb}
	cmd := &cobra.Command{
		Use: use, Short: short, Example: example,
		Long: long + "\n\nWaits until the rollout has taken it up, prints what became of it, and exits 1\nwhen it was refused.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return v.run(cmd, args[0]) },
	}
	cmd.Flags().StringVar(&v.reason, "reason", "", "`text` for history and events: why")
	cmd.Flags().BoolVar(&v.noWait, "no-wait", false, "do not wait until it is taken up")
	return verbAndCommand{v, cmd}
}

// readPercent reads 0 to 100 in steps of 0.01, with or without a sign.
func readPercent(text string) (float64, error) {
	p, err := strconv.ParseFloat(strings.TrimSuffix(text, "%"), 64)
	if err != nil || !(p >= 0 && p <= 100) {
		return 0, exitError{fmt.Errorf("a share of %q: use 0 to 100 per cent", text), rolloutTrouble}
	}
	if math.Abs(math.Round(p*100)-p*100) > 1e-6 {
		return 0, exitError{fmt.Errorf("a share of %q: use at most two digits after the point", text), rolloutTrouble}
	}
	return p, nil
}

// lookAgain is the time between two looks for a verb's answer.
const lookAgain = 200 * time.Millisecond

func (v *verbCommand) run(cmd *cobra.Command, name string) error {
	h, err := v.home(cmd)
	if err != nil {
		return err
	}
	r := cfv1a1.RolloutRequest{ID: rand.Text(), Verb: string(v.verb), Percent: v.percent, Reason: clip(v.reason, 1024), By: whoami()}
	s, err := v.ask(cmd, h, name, &r)
	if err != nil {
		return v.refused(err)
	}
	if v.noWait {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s asked of %s\n", v.verb, s)
		return err
	}
	return v.await(cmd, h, s, r.ID)
}

// place is where a rollout is, when nothing else of it is known.
type place struct{ namespace, name string }

func (p place) String() string { return p.namespace + "/" + p.name }

// ask sends the request for the attempt that is seen now. A write that fails because
// the status has moved on is made again, for the same attempt only.
func (v *verbCommand) ask(cmd *cobra.Command, h home, name string, r *cfv1a1.RolloutRequest) (place, error) {
	for try := 0; ; try++ {
		s, at, err := v.look(cmd.Context(), h, name)
		if err != nil {
			return at, err
		}
		version := ""
		if s != nil {
			if try > 0 && s.state.Number != r.Attempt {
				return at, exitError{fmt.Errorf("%s %s: attempt %d has begun, you saw %d; look again", v.verb, at, s.state.Number, r.Attempt), rolloutFailed}
			}
			if r.Attempt = s.state.Number; v.verb != rollout.VerbAbort {
				version = s.object.ResourceVersion
			}
		}
		const tries = 5
		if err = h.ask(cmd.Context(), at.namespace, at.name, version, *r); errors.Is(err, kube.ErrStale) && version != "" && try < tries {
			continue // it is written about once a tick
		}
		return at, err
	}
}

// look finds the rollout. An abort does not depend on it: when the place is known,
// it goes out even where nothing can be read at a glance.
func (v *verbCommand) look(ctx context.Context, h home, name string) (*subject, place, error) {
	namespace, base, err := v.split(h, name)
	if err != nil {
		return nil, place{}, err
	}
	at := place{namespace, base}
	blind := v.verb == rollout.VerbAbort && namespace != ""
	if blind {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, v.glance)
		defer cancel()
	}
	o, err := v.object(ctx, h, name)
	if err != nil {
		if blind && !errors.Is(err, errNoRollout) {
			return nil, at, nil
		}
		return nil, at, err
	}
	at = place{o.Namespace, o.Name}
	s, err := readSubject(o)
	if err != nil && v.verb == rollout.VerbAbort {
		return nil, at, nil
	}
	return s, at, err
}

func (v *verbCommand) refused(err error) error {
	var refused refusedVerb
	if errors.Is(err, kube.ErrStale) || errors.As(err, &refused) {
		return exitError{err, rolloutFailed}
	}
	return err
}

// await waits until the machine has taken the request up and prints what it made of
// it.
func (v *verbCommand) await(cmd *cobra.Command, h home, at place, id string) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), v.takeUp)
	defer cancel()
	var last error
	for {
		o, err := h.get(ctx, at.namespace, at.name)
		if err == nil {
			var s *subject
			if s, err = readSubject(o); err == nil && s.state.Took(id) {
				return v.outcome(cmd, s, id)
			}
		}
		if err != nil && ctx.Err() == nil {
			last = err
		}
		if !sleep(ctx, lookAgain) {
			break
		}
	}
	err := fmt.Errorf("%s was asked of %s, but nothing has taken it up within %s; is its controller running?", v.verb, at, v.takeUp)
	if v.verb == rollout.VerbAbort {
		err = fmt.Errorf("%w Gateways that see the request send nothing to the candidate even so", err)
	}
	if last != nil {
		err = fmt.Errorf("%w (%w)", err, last)
	}
	return exitError{err, rolloutTimeout}
}

// outcome prints the new state, or fails with why the request was not followed.
func (v *verbCommand) outcome(cmd *cobra.Command, s *subject, id string) error {
	if s.state.LastRequest == id && s.state.Refused != "" {
		return exitError{fmt.Errorf("%s: refused: %s", s.name(), s.state.Refused), rolloutFailed}
	}
	r := s.report()
	text := fmt.Sprintf("%s is %s, share %s", s.name(), r.Phase, r.Set)
	if r.Doing != "" && r.Phase.Running() {
		text += fmt.Sprintf(", step %d/%d (%s)", r.Step, r.Steps, r.Doing)
	}
	if r.Next != "" {
		text += ": " + r.Next
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}

// whoami names the person at the keyboard, as well as the machine knows. It is a
// claim: the API server's audit log is the proof.
func whoami() string {
	name := os.Getenv("USER")
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if name == "" {
		name = "somebody"
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		name += "@" + host
	}
	return clip(name, 256)
}

// clip bounds a text to what the API takes of it, in bytes.
func clip(text string, longest int) string {
	const mark = "…"
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest-len(mark)], "") + mark
	}
	return text
}
