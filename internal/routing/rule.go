package routing

import (
	"maps"
	"net/http"
	"slices"
	"time"
)

// Rule is one rule of an HTTPRoute as attached to one listener: filters,
// timeouts and weighted backends.
type Rule struct {
	// ID is namespace/name/index of the rule, or namespace/name/rule-name.
	ID      string
	Filters Filters
	// Backends in the order of the route; nil answers 500.
	Backends []Backend
	Timeouts Timeouts
	// Retry says when another try is worth it; nil leaves that to the gateway.
	Retry *Retry
	// Failure, when not empty, says why the rule as a whole cannot be served:
	// every request that matches it gets 500 (a filter we cannot honour must
	// never be skipped, Gateway API).
	Failure string

	picked bool
	// Assignment, when not nil, decides between two of the backends (a rollout).
	Assignment *Assignment

	all     *Split
	byModel map[string]*Split
	unknown *Split
}

// Backend is one weighted choice of a rule.
type Backend struct {
	// Ref is Kind namespace/name, for people.
	Ref    string
	Weight uint32
	// Pool serves the backend; nil when the reference does not resolve.
	Pool *Pool
	// Failure says why Pool is nil; such a backend keeps its share and answers
	// 500 (Gateway API).
	Failure string
	Filters Filters
}

// Timeouts of a rule; 0 means none.
type Timeouts struct {
	// Request bounds the time from the request's arrival to the last byte of its
	// answer.
	Request time.Duration
	// BackendRequest bounds one attempt at one endpoint.
	BackendRequest time.Duration
}

// Retry is what a rule says of further tries.
type Retry struct {
	Codes    []int // statuses of answers that are not taken, ascending
	Attempts int   // tries after the first; 0: as many as the gateway's default
	// Backoff is the least time between two tries; 0: the gateway's default.
	Backoff time.Duration
}

// Refuses reports whether an answer of this status is not to be taken.
func (r *Retry) Refuses(status int) bool {
	_, found := slices.BinarySearch(r.Codes, status)
	return found
}

// Filters are the changes a rule or backend makes to requests and answers. The
// zero value changes nothing.
type Filters struct {
	RequestHeaders  *HeaderChange
	ResponseHeaders *HeaderChange
	Redirect        *Redirect
	Rewrite         *Rewrite
	CORS            *CORS
	// Mirrors are where copies of the requests go.
	Mirrors []*Mirror
}

// HeaderChange edits a header: set, then add, then remove. Names are canonical.
type HeaderChange struct {
	Set, Add []HeaderField
	Remove   []string
}

// HeaderField is one name and value.
type HeaderField struct{ Name, Value string }

// Apply edits h.
func (c *HeaderChange) Apply(h http.Header) {
	if c == nil {
		return
	}
	for _, f := range c.Set {
		h[f.Name] = []string{f.Value}
	}
	for _, f := range c.Add {
		h[f.Name] = append(h[f.Name], f.Value)
	}
	for _, name := range c.Remove {
		delete(h, name)
	}
}

// Redirect answers with a Location instead of forwarding. Empty fields keep what
// the request had.
type Redirect struct {
	Scheme   string
	Hostname string
	Port     uint16 // 0: the scheme's own when Scheme is set, else the listener's
	Path     PathChange
	Status   int
}

// Rewrite changes what the backend is asked for.
type Rewrite struct {
	Hostname string
	Path     PathChange
}

// PathChange replaces the whole path or the prefix that matched.
type PathChange struct {
	Type  PathChangeType
	Value string
}

// PathChangeType says what a PathChange replaces.
type PathChangeType int

// The path changes of Gateway API.
const (
	KeepPath PathChangeType = iota
	ReplaceFullPath
	ReplacePrefixMatch
)

// Apply returns path changed; prefix is the path prefix of the route's match.
func (c PathChange) Apply(path, prefix string) string {
	switch c.Type {
	case ReplaceFullPath:
		return c.Value
	case ReplacePrefixMatch:
		if prefix == "/" {
			prefix = ""
		}
		rest := path[min(len(prefix), len(path)):]
		if value := trimSlash(c.Value); value != "" || rest != "" {
			return value + rest
		}
		return "/"
	}
	return path
}

func trimSlash(s string) string {
	if n := len(s); n > 0 && s[n-1] == '/' {
		return s[:n-1]
	}
	return s
}

// Seal computes the rule's splits. Call it when Backends and their pools are
// complete, before the snapshot is armed.
//
// For each model name that some pool of the rule is known to serve, backends
// whose pool is known not to serve it leave the draw. All other names share one
// split over the pools that may serve names nobody told us of.
func (r *Rule) Seal() {
	r.all = r.split("", func(*Pool) bool { return true })
	names := map[string]struct{}{}
	for i := range r.Backends {
		if p := r.Backends[i].Pool; p != nil {
			p.eachName(func(name string) { names[name] = struct{}{} })
			r.picked = r.picked || p.Picker != nil
		}
	}
	r.byModel = make(map[string]*Split, len(names))
	for name := range names {
		r.byModel[name] = r.splitFor(name)
	}
	r.unknown = r.splitFor("")
	r.sealMirrors()
}

// splitFor is the split for one name. A pool that was told of its models and not
// of this one counts as unable as soon as another is known to be able. A rule
// without a weighted pool (all missing, or all of weight 0) knows nothing of
// models: its requests fail for that, not for the name.
func (r *Rule) splitFor(name string) *Split {
	best, pools := ServesNot, 0
	for i := range r.Backends {
		if b := &r.Backends[i]; b.Pool != nil && b.Weight > 0 {
			best = max(best, b.Pool.Serves(name))
			pools++
		}
	}
	if pools == 0 {
		return r.all
	}
	if best == ServesNot {
		return nil
	}
	return r.split("", func(p *Pool) bool {
		s := p.Serves(name)
		return s == best || s == ServesMaybe && !p.Declared()
	})
}

// split is the split over all backends whose pool is able or missing. Splits with
// equal weights share an ID and so a Sequence.
func (r *Rule) split(id string, able func(*Pool) bool) *Split {
	weights := make([]uint32, len(r.Backends))
	for i := range r.Backends {
		if b := &r.Backends[i]; b.Pool == nil || able(b.Pool) {
			weights[i] = b.Weight
			if b.Weight > 0 {
				id += "," + b.id()
			}
		}
	}
	return NewSplit("rule "+r.ID+id, weights)
}

// id tells backends apart whose Refs are equal: pools of one name in two groups,
// ports of one Service.
func (b *Backend) id() string {
	if b.Pool != nil {
		return b.Pool.ID
	}
	return b.Ref
}

// Models returns the names that some pool of the rule is known to serve, sorted.
func (r *Rule) Models() []string { return slices.Sorted(maps.Keys(r.byModel)) }

// Split returns the weighted choice among the rule's backends for a request that
// names model ("" when it names none). nil means that no weighted pool of the
// rule serves the model.
func (r *Rule) Split(model string) *Split {
	if model == "" {
		return r.all
	}
	if s, ok := r.byModel[model]; ok {
		return s
	}
	return r.unknown
}

// Inference reports whether some backend is a pool of model servers, so that the
// model's name in the body matters.
func (r *Rule) Inference() bool {
	for i := range r.Backends {
		if p := r.Backends[i].Pool; p != nil && p.Inference {
			return true
		}
	}
	return false
}

// Picked reports whether some backend is a pool with an external picker, which is
// shown the whole request before it is sent.
func (r *Rule) Picked() bool { return r.picked }

// Excluded returns the weighted pools that model is never sent to because they
// are known not to serve it, in the rule's order.
func (r *Rule) Excluded(model string) []*Pool {
	s := r.Split(model)
	var out []*Pool
	for i := range r.Backends {
		if b := &r.Backends[i]; b.Weight > 0 && b.Pool != nil && (s == nil || s.weights[i] == 0) {
			out = append(out, b.Pool)
		}
	}
	return out
}

func (r *Rule) eachSplit(f func(*Split)) {
	if r.Assignment != nil {
		r.Assignment.eachSplit(f)
	}
	for _, s := range r.byModel {
		if s != nil {
			f(s)
		}
	}
	for _, s := range []*Split{r.all, r.unknown} {
		if s != nil {
			f(s)
		}
	}
	r.EachMirror(func(m *Mirror) {
		if m.split != nil {
			f(m.split)
		}
	})
}
