package routing

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
)

// String prints the snapshot, one stable line per listener, route, pool and model
// rule: the same text serves goldens, `crossfade check`, the admin page and
// differences in the log.
func (s *Snapshot) String() string {
	var b strings.Builder
	for _, p := range s.Ports {
		for _, l := range p.Listeners {
			fmt.Fprintf(&b, "listener %s/%s port %d%s%s%s%s\n", l.Gateway, l.Name, p.Number,
				flag(p.TLS, " tls"), field(" host ", l.Hostname), limit(l.MaxBodyBytes), l.certificateWords())
			l.print(&b)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(s.Pools)) {
		s.Pools[id].print(&b)
	}
	return b.String()
}

func (l *Listener) print(b *strings.Builder) {
	hosts := slices.SortedFunc(maps.Keys(l.hosts), CompareHosts)
	for _, h := range hosts {
		t := l.hosts[h]
		for _, path := range byLength(t.exact) {
			printRoutes(b, h, t.exact[path])
		}
		printRoutes(b, h, t.regex)
		for _, path := range byLength(t.prefix) {
			printRoutes(b, h, t.prefix[path])
		}
	}
}

// byLength orders paths as matching tries them, longest first.
func byLength(m map[string][]*Route) []string {
	paths := slices.Sorted(maps.Keys(m))
	sort.SliceStable(paths, func(i, j int) bool { return len(paths[i]) > len(paths[j]) })
	return paths
}

func printRoutes(b *strings.Builder, host string, routes []*Route) {
	for _, r := range routes {
		fmt.Fprintf(b, "  route %s%s %s -> %s\n", r.Rule.ID, field(" host ", host), r.Match, r.Rule)
	}
}

// String prints the match as "prefix /v1 method GET header A=b query c=d".
func (m Match) String() string {
	var b strings.Builder
	b.WriteString([]string{"prefix ", "exact ", "regex "}[m.PathType])
	b.WriteString(m.Path)
	b.WriteString(field(" method ", m.Method))
	for _, h := range m.Headers {
		b.WriteString(" header " + h.String())
	}
	for _, q := range m.Query {
		b.WriteString(" query " + q.String())
	}
	return b.String()
}

func (v ValueMatch) String() string {
	if v.Regex != nil {
		return v.Name + "~" + v.Value
	}
	return v.Name + "=" + v.Value
}

// String prints what the rule does with a request.
func (r *Rule) String() string {
	var parts []string
	if r.Failure != "" {
		parts = append(parts, "500 ("+r.Failure+")")
	}
	parts = append(parts, r.Filters.words()...)
	if r.Timeouts.Request > 0 {
		parts = append(parts, "timeout "+r.Timeouts.Request.String())
	}
	if r.Timeouts.BackendRequest > 0 {
		parts = append(parts, "backend-timeout "+r.Timeouts.BackendRequest.String())
	}
	if r.Retry != nil {
		parts = append(parts, r.Retry.String())
	}
	for i := range r.Backends {
		parts = append(parts, r.Backends[i].String())
	}
	if r.Assignment != nil {
		parts = append(parts, "("+r.Assignment.String()+" to "+r.Backends[r.Assignment.Candidate].Ref+")")
	}
	if len(r.Backends) == 0 && r.Filters.Redirect == nil && r.Failure == "" {
		parts = append(parts, "500 (no backends)")
	}
	return strings.Join(append(parts, r.exclusions()...), " ")
}

// String prints the retry as "retry(codes=500,503 attempts=2 backoff=100ms)".
func (r *Retry) String() string {
	codes := make([]string, len(r.Codes))
	for i, c := range r.Codes {
		codes[i] = fmt.Sprint(c)
	}
	backoff := ""
	if r.Backoff > 0 {
		backoff = r.Backoff.String()
	}
	return "retry(" + strings.TrimSpace(field(" codes=", strings.Join(codes, ","))+
		number(" attempts=", int64(r.Attempts))+field(" backoff=", backoff)) + ")"
}

// exclusions prints which models never go to which pools, as "[a,b not to p]".
func (r *Rule) exclusions() []string {
	models := map[string][]string{}
	for _, m := range r.Models() {
		if out := r.Excluded(m); len(out) > 0 {
			names := poolNames(out)
			models[names] = append(models[names], m)
		}
	}
	var parts []string
	for _, pools := range slices.Sorted(maps.Keys(models)) {
		parts = append(parts, fmt.Sprintf("[%s not to %s]", strings.Join(models[pools], ","), pools))
	}
	return parts
}

func poolNames(pools []*Pool) string {
	names := make([]string, len(pools))
	for i, p := range pools {
		names[i] = p.Name
	}
	return strings.Join(names, ",")
}

// String prints the backend with its weight.
func (b *Backend) String() string {
	s := fmt.Sprintf("%s*%d", b.Ref, b.Weight)
	if b.Pool == nil {
		s += " 500 (" + b.Failure + ")"
	}
	if w := b.Filters.words(); len(w) > 0 {
		s += "{" + strings.Join(w, " ") + "}"
	}
	return s
}

func (f *Filters) words() []string {
	var w []string
	if c := f.RequestHeaders; c != nil {
		w = append(w, "request-headers("+c.String()+")")
	}
	if c := f.ResponseHeaders; c != nil {
		w = append(w, "response-headers("+c.String()+")")
	}
	if r := f.Redirect; r != nil {
		w = append(w, fmt.Sprintf("redirect(%d%s%s%s%s)", r.Status, field(" scheme=", r.Scheme),
			field(" host=", r.Hostname), number(" port=", int64(r.Port)), r.Path))
	}
	if r := f.Rewrite; r != nil {
		w = append(w, "rewrite("+strings.TrimSpace(field(" host=", r.Hostname)+r.Path.String())+")")
	}
	if f.CORS != nil {
		w = append(w, f.CORS.String())
	}
	for _, m := range f.Mirrors {
		w = append(w, m.String())
	}
	return w
}

// String prints the change as "set A=b add C=d remove E".
func (c *HeaderChange) String() string {
	var w []string
	for _, f := range c.Set {
		w = append(w, "set "+f.Name+"="+f.Value)
	}
	for _, f := range c.Add {
		w = append(w, "add "+f.Name+"="+f.Value)
	}
	for _, n := range c.Remove {
		w = append(w, "remove "+n)
	}
	return strings.Join(w, " ")
}

// String prints the change with a leading space, or nothing.
func (c PathChange) String() string {
	switch c.Type {
	case ReplaceFullPath:
		return " path=" + c.Value
	case ReplacePrefixMatch:
		return " prefix=" + c.Value
	}
	return ""
}

// certificateWords prints which certificates other than the listener's own count.
func (l *Listener) certificateWords() string {
	s := ""
	if c := l.Clients; c != nil {
		s = " client-certificates" + flag(c.Optional, " optional")
	}
	if i := l.Identity; i != nil {
		s += " identity" + flag(i.Failure != "", " missing")
	}
	return s
}

// words prints how an endpoint is to prove who it is.
func (t *BackendTLS) words() string {
	if t == nil {
		return ""
	}
	names := slices.Concat(t.Names, t.URIs)
	return " tls " + t.ServerName + flag(len(names) > 0, " as "+strings.Join(names, ",")) + flag(t.Roots == nil, " by system authorities")
}

func (p *Pool) print(b *strings.Builder) {
	fmt.Fprintf(b, "pool %s%s%s%s endpoints %s%s\n", p.ID, flag(p.Protocol == H2C, " h2c"), p.TLS.words(),
		p.Picker, p.addresses(), field(" models ", strings.Join(p.Models, ",")))
	for _, name := range slices.Sorted(maps.Keys(p.Rules)) {
		fmt.Fprintf(b, "  model %s -> %s\n", name, p.Rules[name])
	}
	if p.Generic != nil {
		fmt.Fprintf(b, "  model * -> %s\n", p.Generic)
	}
}

// String prints the picker with a leading space, or nothing for nil.
func (e *ExternalPicker) String() string {
	if e == nil {
		return ""
	}
	return " picker " + e.Service + flag(e.Plaintext, " plaintext") + flag(e.FailOpen, " fail-open") + " at " + addressList(e.Endpoints)
}

func (p *Pool) addresses() string {
	out := make([]string, len(p.Endpoints))
	for i, e := range p.Endpoints {
		out[i] = e.Address
	}
	return addressList(out)
}

func addressList(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ",")
}

// String prints the rule's targets with their weights.
func (m *ModelRule) String() string {
	parts := make([]string, len(m.Targets))
	for i, t := range m.Targets {
		parts[i] = fmt.Sprintf("%s*%d", t.Model, t.Weight)
	}
	if m.Assignment != nil {
		parts = append(parts, "("+m.Assignment.String()+" to "+m.Targets[m.Assignment.Candidate].Model+")")
	}
	return strings.Join(parts, " ") + flag(m.Restore, " restore") + number(" priority ", int64(m.Priority)) + " (" + m.Ref + ")"
}

func flag(on bool, s string) string {
	if on {
		return s
	}
	return ""
}

func field(name, value string) string { return flag(value != "", name+value) }

func number(name string, n int64) string { return flag(n != 0, fmt.Sprintf("%s%d", name, n)) }

func limit(n int64) string { return number(" max-body ", n) }
