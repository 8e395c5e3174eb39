package main

import (
	"errors"
	"fmt"

	"crossfade.dev/internal/app"
	"github.com/spf13/cobra"
)

func newCheckCommand() *cobra.Command {
	var routes bool
	cmd := &cobra.Command{
		Use:   "check PATH...",
		Short: "Check Kubernetes YAML files as `up` would, without starting anything",
		Long: `Reads the files that "crossfade up" would run from and says what it would say:
errors (something asked for does not work) and warnings (it works, but probably
not as meant). Exits 1 when there is an error.

With --routes it prints what requests would be routed by.`,
		Example: `  crossfade check examples/gray-release
  crossfade check --routes manifests/`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			view, err := app.Check(args)
			if err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if routes {
				fmt.Fprintln(out, view.Snapshot)
			}
			printProblems(out, view.Problems)
			failures, warnings := countProblems(view.Problems)
			fmt.Fprintf(out, "%s checked: %s, %s\n", plural(view.Read, "object"),
				plural(failures, "error"), plural(warnings, "warning"))
			if failures > 0 {
				return quietError{errors.New("check failed")}
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&routes, "routes", false, "print what requests would be routed by")
	return cmd
}
