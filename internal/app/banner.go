package app

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/routing"
)

// Banner says in a few lines what is served where, and what to try.
func (u *Up) Banner() string {
	v := view{u.view.Load()}
	var b strings.Builder
	b.WriteString("crossfade is up. Model servers marked \"simulated\" are simulators, not models.\n\n")
	w := tabwriter.NewWriter(&b, 0, 8, 2, ' ', 0)
	for _, l := range v.Listeners {
		fmt.Fprintf(w, "  listening\t%s\t%s\n", cmp.Or(l.Problem, l.URL), strings.Join(l.Names, ", "))
	}
	fmt.Fprintf(w, "  admin\thttp://%s\tmetrics, status, health\n", u.cfg.Admin)
	for _, p := range v.Pools {
		fmt.Fprintf(w, "  pool\t%s\t%s\n", p.Name, poolText(p))
	}
	u.rollouts.banner(w, u.adminFlag())
	_ = w.Flush() // into memory
	if failures, warnings := v.count(); failures+warnings > 0 {
		fmt.Fprintf(&b, "\nerrors: %d, warnings: %d; `crossfade status%s` shows them\n", failures, warnings, u.adminFlag())
	}
	b.WriteString(tryText(u.snapshot, v.View))
	return b.String()
}

func (u *Up) adminFlag() string {
	if u.cfg.Admin == Defaults().Admin {
		return ""
	}
	return " --admin " + u.cfg.Admin
}

func poolText(p admin.Pool) string {
	if len(p.Endpoints) == 0 {
		return "no endpoints"
	}
	var parts []string
	for _, e := range p.Endpoints[:min(len(p.Endpoints), 4)] {
		text := e.Address
		if e.Simulated != "" {
			text += " (simulated " + e.Simulated + ")"
		}
		parts = append(parts, text)
	}
	if more := len(p.Endpoints) - len(parts); more > 0 {
		parts = append(parts, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(parts, ", ")
}

// tryText is a curl command for a model that the first usable route serves.
func tryText(s *routing.Snapshot, v *admin.View) string {
	model := tryModel(s)
	i := slices.IndexFunc(v.Listeners, func(l admin.Listener) bool { return l.Problem == "" })
	if model == "" || i < 0 {
		return ""
	}
	return fmt.Sprintf(`
Try it:
  curl %s/v1/chat/completions -H 'Content-Type: application/json' \
    -d '{"model": %q, "messages": [{"role": "user", "content": "Who are you?"}]}'

`, v.Listeners[i].URL, model)
}

// tryModel is a model that a rule really splits, else any that is served.
func tryModel(s *routing.Snapshot) string {
	best, bestPools := "", 0
	for _, p := range s.Ports {
		for _, l := range p.Listeners {
			l.EachRoute(func(r *routing.Route) {
				for i := range r.Rule.Backends {
					pool := r.Rule.Backends[i].Pool
					if pool == nil {
						continue
					}
					for _, name := range pool.Names() {
						n := len(r.Rule.Backends) - len(r.Rule.Excluded(name))
						if n > bestPools || n == bestPools && name < best {
							best, bestPools = name, n
						}
					}
				}
			})
		}
	}
	return best
}
