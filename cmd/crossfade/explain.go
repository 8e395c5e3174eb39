package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"

	"crossfade.dev/internal/app"
	"crossfade.dev/internal/scheduling"
	"github.com/spf13/cobra"
)

func newExplainCommand() *cobra.Command {
	address := app.Defaults().Admin
	var pool string
	cmd := &cobra.Command{
		Use:   "explain",
		Short: "Show why a running gateway chose the endpoints it did",
		Long: `Asks the admin address of a running gateway for the last decision it kept of each
pool (it keeps one per second) and prints the endpoints that were compared, the
cheapest first: what a call was estimated to cost at each, in milliseconds, and
of which parts. An asterisk marks the chosen one.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := fetchAdmin(cmd.Context(), address, "explain")
			if err != nil {
				return err
			}
			var kept []scheduling.Explained
			if err := json.Unmarshal(body, &kept); err != nil {
				return fmt.Errorf("read decisions from %s: %w", address, err)
			}
			return printExplained(cmd.OutOrStdout(), kept, pool)
		},
	}
	cmd.Flags().StringVar(&address, "admin", address, "`host:port` of the gateway's admin server")
	cmd.Flags().StringVar(&pool, "pool", "", "all kept decisions of the pool with this `ID`, not the last of each")
	return cmd
}

// printExplained prints the last decision of each pool, or all of one.
func printExplained(out io.Writer, kept []scheduling.Explained, pool string) error {
	last := map[string]int{}
	for i, x := range kept {
		last[x.Pool] = i
	}
	printed := 0
	for i, x := range kept {
		if pool == "" && last[x.Pool] == i || pool != "" && x.Pool == pool {
			fmt.Fprint(out, x)
			printed++
		}
	}
	if printed == 0 {
		return fmt.Errorf("no decision of %s has been kept; send a request first", cmp.Or(pool, "any pool"))
	}
	return nil
}
