package app

import (
	"cmp"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"crossfade.dev/internal/admin"
	"crossfade.dev/internal/routing"
	"crossfade.dev/internal/translate"
)

// view is an admin.View under construction.
type view struct{ *admin.View }

func newView(r *translate.Result, origins map[translate.ObjectRef]string) view {
	v := view{&admin.View{Read: len(origins), Snapshot: r.Snapshot.String()}}
	for _, s := range r.Statuses {
		v.Objects = append(v.Objects, admin.NewObject(s, origins[s.Ref]))
	}
	for _, id := range slices.Sorted(maps.Keys(r.Snapshot.Pools)) {
		v.Pools = append(v.Pools, newPoolView(r.Snapshot.Pools[id]))
	}
	v.addProblems(r.Problems, origins)
	return v
}

func (p *plane) newListenerView(port *routing.Port, failure error) admin.Listener {
	bind := cmp.Or(p.cfg.Bind, "0.0.0.0")
	scheme := "http"
	if port.TLS {
		scheme = "https"
	}
	l := admin.Listener{URL: scheme + "://" + net.JoinHostPort(bind, strconv.Itoa(int(port.Number)))}
	for _, on := range port.Listeners {
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

func newPoolView(p *routing.Pool) admin.Pool {
	out := admin.Pool{Name: p.Name, Kind: p.Kind, Models: p.Names()}
	for _, e := range p.Endpoints {
		out.Endpoints = append(out.Endpoints, admin.Endpoint{Address: e.Address, Pod: e.Pod})
	}
	return out
}

func (v view) addProblems(problems []translate.Problem, origins map[translate.ObjectRef]string) {
	for _, p := range problems {
		v.Problems = append(v.Problems, admin.NewProblem(p, cmp.Or(p.Origin, origins[p.Ref])))
	}
}

// sortProblems puts errors first, then orders by place.
func (v view) sortProblems() {
	slices.SortStableFunc(v.Problems, func(a, b admin.Problem) int {
		return cmp.Or(cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Origin, b.Origin),
			cmp.Compare(a.Object, b.Object), cmp.Compare(a.Field, b.Field))
	})
}

// count returns the number of errors and warnings.
func (v view) count() (failures, warnings int) {
	for _, p := range v.Problems {
		if p.Severity == translate.Error {
			failures++
		} else {
			warnings++
		}
	}
	return failures, warnings
}

// logProblems logs those of problems that were not there before.
func logProblems(log *slog.Logger, before, problems []admin.Problem) {
	known := map[admin.Problem]bool{}
	for _, p := range before {
		known[p] = true
	}
	for _, p := range problems {
		if known[p] {
			continue
		}
		say := log.Warn
		if p.Severity == translate.Error {
			say = log.Error
		}
		say(p.Message, "object", p.Object, "field", p.Field, "origin", p.Origin, "remedy", p.Remedy)
	}
}
