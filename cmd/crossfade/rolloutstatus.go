package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"crossfade.dev/internal/rollout"
	"crossfade.dev/internal/rollout/screen"
	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func newRolloutStatusCommand(flags *rolloutFlags) *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "status [NAME]",
		Short: "Follow a rollout to its end and tell it by the exit code",
		Long: `Prints a line for each change until the rollout has ended: exit code 0 when it is
promoted, 1 when it is aborted, 2 when --timeout is over first, 3 for any other
error. A rollout that is paused is waited for, since a person may resume it.`,
		Example: `  crossfade rollout status chat/qwen3
  crossfade rollout status qwen3 --timeout 10m || crossfade rollout abort qwen3`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			h, s, err := flags.one(cmd, argument(args, 0))
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if timeout > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, timeout)
				defer cancel()
			}
			return flags.followToEnd(ctx, cmd, h, s)
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 0, "longest wait, such as 10m; 0 = none")
	return cmd
}

// followToEnd prints changes until the rollout has ended; its error has the exit
// code.
func (f *rolloutFlags) followToEnd(ctx context.Context, cmd *cobra.Command, h home, s *subject) error {
	var log screen.Log
	for {
		if line := log.Line(s.report()); line != "" {
			fmt.Fprintln(cmd.OutOrStdout(), line)
		}
		if ended, err := s.ended(); ended {
			return err
		}
		if !sleep(ctx, f.redraw) {
			return exitError{fmt.Errorf("%s is still %s after the time given", s.name(), s.report().Phase), rolloutTimeout}
		}
		next, err := again(ctx, h, s)
		switch {
		case ctx.Err() != nil: // told above
		case errors.Is(err, errNoRollout) || apierrors.IsNotFound(err):
			return fmt.Errorf("%s was deleted: %w", s.name(), err)
		case err != nil:
			warn(cmd, "%v; trying again", err)
		default:
			s = next
		}
	}
}

// ended reports whether the rollout has come to its end, and with which error. An
// end of another plan than the object's is none: the machine has not seen it yet.
func (s *subject) ended() (bool, error) {
	if !s.current() {
		return false, nil
	}
	switch s.state.Phase {
	case rollout.Promoted:
		return true, nil
	case rollout.Aborting:
		if !s.state.Share.Verified {
			return false, nil // soon; the end is told when no user is sent there any more
		}
	case rollout.Aborted:
	default:
		return false, nil
	}
	return true, exitError{fmt.Errorf("%s was aborted: %s: %s", s.name(), s.state.Reason, s.state.Message), rolloutFailed}
}
