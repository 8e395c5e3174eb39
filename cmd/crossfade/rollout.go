package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"crossfade.dev/internal/app"
	"crossfade.dev/internal/rollout/screen"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

// Exit codes of rollout commands, for scripts. What cobra refuses is rolloutTrouble
// too: 1 must not be mistaken for an abort.
const (
	rolloutFailed  = 1 // the rollout was aborted, or a verb refused
	rolloutTimeout = 2
	rolloutTrouble = 3 // anything else
)

// exitError gives an error an exit code of its own.
type exitError struct {
	error
	code int
}

func (e exitError) Unwrap() error { return e.error }

// exitCode is the code with which the process tells of an error.
func exitCode(err error) int {
	var e exitError
	if errors.As(err, &e) {
		return e.code
	}
	return 1
}

// rolloutFlags are those of all rollout commands.
type rolloutFlags struct {
	admin     string
	api       apiFlags
	namespace string
	noColor   bool
	// redraw is the time between two looks at a rollout, takeUp how long a verb waits
	// for its answer, glance how long a look may take that the command can do without.
	redraw, takeUp, glance time.Duration
}

func newRolloutCommand() *cobra.Command {
	return rolloutCommand(&rolloutFlags{admin: app.Defaults().Admin, redraw: time.Second, takeUp: 10 * time.Second, glance: time.Second})
}

// rolloutCommand returns the command with the defaults that are in flags.
func rolloutCommand(flags *rolloutFlags) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollout",
		Short: "Watch rollouts and steer them",
		Long: `Shows how rollouts stand and why, and hands an operator's verbs to them.

Rollouts live in a running "crossfade up", reached at its admin address (--admin),
or in a cluster (--kubeconfig, --context). Without these flags it is the default
admin address if a "crossfade up" answers there, else the cluster of the current
kubeconfig; what was chosen is then said on stderr.

NAME is name or namespace/name. Where there is one rollout only, get, status and
explain need no NAME.

Exit codes: 0 done, or promoted (status); 1 the verb was refused, or the rollout
was aborted (status); 2 out of time; 3 any other error.`,
		Example: `  crossfade rollout get -w
  crossfade rollout status chat/qwen3 --timeout 2h
  crossfade rollout abort qwen3 --reason "answers are cut"`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	f := cmd.PersistentFlags()
	f.StringVar(&flags.admin, "admin", flags.admin, "`host:port` of the admin server of a crossfade up")
	flags.api.add(f)
	f.StringVarP(&flags.namespace, "namespace", "n", "", "namespace of NAME; without: the kubeconfig's, or in a crossfade up any")
	f.BoolVar(&flags.noColor, "no-color", false, "print without colours, as with NO_COLOR or where stdout is no terminal")
	cmd.AddCommand(newRolloutGetCommand(flags), newRolloutListCommand(flags), newRolloutStatusCommand(flags), newRolloutExplainCommand(flags), newRolloutSimulateCommand(flags))
	cmd.AddCommand(newRolloutVerbCommands(flags)...)
	for _, c := range append(cmd.Commands(), cmd) {
		codeErrors(c)
	}
	return cmd
}

// codeErrors gives every error of a command without a code that of trouble.
func codeErrors(c *cobra.Command) {
	coded := func(err error) error {
		var e exitError
		if err == nil || errors.As(err, &e) {
			return err
		}
		return exitError{err, rolloutTrouble}
	}
	run, args := c.RunE, c.Args
	c.RunE = func(cmd *cobra.Command, a []string) error { return coded(run(cmd, a)) }
	c.Args = func(cmd *cobra.Command, a []string) error { return coded(args(cmd, a)) }
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return coded(err) })
}

// terminal is what is known of where output goes.
type terminal struct {
	out io.Writer
	// size is that of the screen; ok is false where there is none.
	size   func() (columns, rows int, ok bool)
	colour bool
}

func (f *rolloutFlags) terminal(cmd *cobra.Command) terminal {
	t := terminal{out: cmd.OutOrStdout(), size: func() (int, int, bool) { return 0, 0, false }}
	file, ok := t.out.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return t
	}
	t.size = func() (int, int, bool) {
		columns, rows, err := term.GetSize(int(file.Fd()))
		return columns, rows, err == nil && columns > 0
	}
	t.colour = !f.noColor && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return t
}

// options are for printing once; long lines are not cut where nobody looks.
func (t terminal) options() screen.Options {
	columns, _, _ := t.size()
	return screen.Options{Width: columns, Colour: t.colour}
}

// warn prints a line for a person on stderr, which programs do not read.
func warn(cmd *cobra.Command, format string, args ...any) {
	fmt.Fprintf(cmd.ErrOrStderr(), "crossfade: "+format+"\n", args...)
}
