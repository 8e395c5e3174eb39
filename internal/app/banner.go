package app

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/proxy"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/translate"
)

// newView is the view of what was just published; unbound are the ports that
// could not be opened.
func (u *Up) newView(r *translate.Result, origins map[translate.ObjectRef]string, unbound []proxy.PortError) view {
	failures := map[uint16]error{}
	for _, e := range unbound {
		failures[e.Port] = e
	}
	v := newView(r, origins)
	v.Generation = u.view.Load().Generation + 1
	v.Published = time.Now()
	for _, p := range r.Snapshot.Ports {
		v.Listeners = append(v.Listeners, u.newListenerView(p, failures[p.Number]))
		if err := failures[p.Number]; err != nil {
			v.Problems = append(v.Problems, unboundProblem(p, err))
		}
	}
	for i := range v.Pools {
		for j, e := range v.Pools[i].Endpoints {
			v.Pools[i].Endpoints[j].Simulated = u.fleet.simulates(e.Address)
		}
	}
	return v
}

func (u *Up) newListenerView(p *routing.Port, failure error) admin.Listener {
	scheme := "http"
	if p.TLS {
		scheme = "https"
	}
	l := admin.Listener{URL: scheme + "://" + net.JoinHostPort(u.cfg.Bind, strconv.Itoa(int(p.Number)))}
	for _, on := range p.Listeners {
		name := on.Gateway + "/" + on.Name
		if on.Hostname != "" {
			name += " (" + on.Hostname + ")"
		}
		l.Names = append(l.Names, name)
	}
	if failure != nil {
		l.Problem = failure.Error()
	}
	return l
}

func unboundProblem(p *routing.Port, err error) admin.Problem {
	namespace, name, _ := strings.Cut(p.Listeners[0].Gateway, "/")
	return admin.NewProblem(translate.Problem{
		Severity: translate.Error,
		Ref:      translate.ObjectRef{Kind: "Gateway", Namespace: namespace, Name: name},
		Field:    "spec.listeners[" + p.Listeners[0].Name + "].port",
		Message:  err.Error(),
		Remedy:   "free the port, give the listener another one, or bind another address with --bind",
	}, "")
}

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
