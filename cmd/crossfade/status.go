package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/app"
	"crossfade.dev/internal/translate"
	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

func newStatusCommand() *cobra.Command {
	address := app.Defaults().Admin
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what a running gateway serves and every object's conditions",
		Long: `Asks the admin address of a running gateway for its listeners, pools, objects
with their conditions, and problems.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			body, err := fetchAdmin(cmd.Context(), address, "status")
			if err != nil {
				return err
			}
			if asJSON {
				_, err := cmd.OutOrStdout().Write(body)
				return err
			}
			var view admin.View
			if err := json.Unmarshal(body, &view); err != nil {
				return fmt.Errorf("read status from %s: %w", address, err)
			}
			return printStatus(cmd.OutOrStdout(), &view)
		},
	}
	cmd.Flags().StringVar(&address, "admin", address, "`host:port` of the gateway's admin server")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the status as JSON")
	return cmd
}

// fetchAdmin asks the admin server at address for one of its pages; the answer is bounded so that
// whatever listens there cannot fill our memory.
func fetchAdmin(ctx context.Context, address, page string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/"+page, nil)
	if err != nil {
		return nil, fmt.Errorf("--admin %q is not host:port: %w", address, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("no gateway answers at %s: %w (is `crossfade up` running? --admin names another address)", address, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: not a crossfade admin server?", address, resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 256<<20))
	if err != nil {
		return nil, fmt.Errorf("read %s from %s: %w", page, address, err)
	}
	return body, nil
}

func printStatus(out io.Writer, v *admin.View) error {
	fmt.Fprintf(out, "configuration %d, in effect since %s\n\n", v.Generation, v.Published.Local().Format(time.DateTime))
	table(out, "LISTENER\tFOR\tSTATE", func(w io.Writer) {
		for _, l := range v.Listeners {
			fmt.Fprintf(w, "%s\t%s\t%s\n", l.URL, strings.Join(l.Names, ", "), cmp.Or(l.Problem, "listening"))
		}
	})
	table(out, "POOL\tENDPOINTS\tMODELS", func(w io.Writer) {
		for _, p := range v.Pools {
			fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, endpointsText(p.Endpoints), cmp.Or(strings.Join(p.Models, ", "), "not known"))
		}
	})
	table(out, "OBJECT\tAT\tCONDITIONS", func(w io.Writer) {
		for _, o := range v.Objects {
			printObject(w, o)
		}
	})
	printProblems(out, v.Problems)
	return nil
}

// table prints rows in columns below a head, and a blank line.
func table(out io.Writer, head string, rows func(io.Writer)) {
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	fmt.Fprintln(w, head)
	rows(w)
	_ = w.Flush() // what cannot be printed has no one to tell
	fmt.Fprintln(out)
}

func printObject(w io.Writer, o admin.Object) {
	name := o.Kind + " " + o.Name
	if o.Namespace != "" {
		name = o.Kind + " " + o.Namespace + "/" + o.Name
	}
	if len(o.Status) == 0 {
		fmt.Fprintf(w, "%s\t\tnot used\n", name)
	}
	for i, s := range o.Status {
		if i > 0 {
			name = ""
		}
		of := s.Of
		if s.AttachedRoutes != nil {
			of += " (" + plural(int(*s.AttachedRoutes), "route") + ")"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\n", name, of, conditionsText(s.Conditions))
	}
}

// conditionsText lists what is as it should be by name and spells out the rest.
func conditionsText(conditions []metav1.Condition) string {
	var parts []string
	for _, c := range conditions {
		switch {
		case c.Type == string(gwv1.ListenerConditionConflicted) && c.Status == metav1.ConditionFalse:
			// The one condition that is good when false.
		case c.Status == metav1.ConditionTrue && c.Reason == c.Type:
			parts = append(parts, c.Type)
		default:
			parts = append(parts, fmt.Sprintf("%s=%s (%s)", c.Type, c.Status, c.Reason))
		}
	}
	return strings.Join(parts, ", ")
}

func endpointsText(endpoints []admin.Endpoint) string {
	if len(endpoints) == 0 {
		return "none"
	}
	parts := make([]string, 0, len(endpoints))
	for i, e := range endpoints {
		if i == 3 && len(endpoints) > 4 {
			parts = append(parts, fmt.Sprintf("and %d more", len(endpoints)-i))
			break
		}
		text := e.Address
		if e.Simulated != "" {
			text += " (simulates " + e.Simulated + ")"
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, ", ")
}

// printProblems prints each problem with where it is and what to do.
func printProblems(out io.Writer, problems []admin.Problem) {
	for _, p := range problems {
		place := p.Object
		if p.Field != "" {
			place += " " + p.Field
		}
		if p.Origin != "" {
			place = strings.TrimSpace(p.Origin + "  " + place)
		}
		fmt.Fprintf(out, "%s  %s\n    %s\n", p.Severity, place, p.Message)
		if p.Remedy != "" {
			fmt.Fprintf(out, "    to mend it: %s\n", p.Remedy)
		}
	}
	if len(problems) > 0 {
		fmt.Fprintln(out)
	}
}

func countProblems(problems []admin.Problem) (failures, warnings int) {
	for _, p := range problems {
		if p.Severity == translate.Error {
			failures++
		} else {
			warnings++
		}
	}
	return failures, warnings
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
