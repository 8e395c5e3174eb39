package routing

import (
	"slices"
	"sort"
)

// Protocol is how a pool's endpoints are spoken to.
type Protocol int

// The protocols of appProtocol. With TLS a pool of HTTP1 may be spoken to over
// HTTP/2 as well, if its endpoint offers that, and one of H2C is over HTTP/2 alone.
const (
	HTTP1 Protocol = iota
	H2C
)

// Pool is a set of endpoints that serve the same thing: an InferencePool, or the
// endpoints behind one port of a Service.
type Pool struct {
	ID   string // Kind/namespace/name, with the group for kinds of several groups
	Kind string // InferencePool or Service
	Name string // namespace/name
	// Inference pools speak OpenAI's API: the model in the body counts.
	Inference bool
	Protocol  Protocol
	TLS       *BackendTLS // nil: clear text
	// Endpoints that may take new requests, by ascending Address.
	Endpoints []Endpoint
	// Rules by the model name that clients ask for.
	Rules map[string]*ModelRule
	// Generic applies to names that Rules lacks; nil: they pass unchanged.
	Generic *ModelRule
	// Models are the names that endpoints report on /v1/models, sorted.
	// ModelsKnown says that every endpoint has reported (and there is one).
	Models      []string
	ModelsKnown bool
	// Objectives are the priorities requests may choose by name.
	Objectives map[string]int
	// Picker is who chooses among Endpoints; nil: the in-process picker.
	Picker *ExternalPicker
}

// ExternalPicker is a Service that speaks the endpoint picker protocol (Gateway
// API Inference Extension, proposal 004).
type ExternalPicker struct {
	Service string // namespace/name:port
	// Endpoints of the Service's port that are ready (host:port), ascending.
	Endpoints []string
	// FailOpen says that without the picker's choice the in-process picker chooses
	// (failureMode); otherwise the request fails.
	FailOpen bool
	// Plaintext says that it speaks HTTP/2 in clear text. Over TLS its certificate
	// is not verified (docs/decisions/0007).
	Plaintext bool
}

// Plain reports that the pool is spoken to over HTTP/1.1 in clear text.
func (p *Pool) Plain() bool { return p.Protocol == HTTP1 && p.TLS == nil }

// Endpoint is one address of one model server.
type Endpoint struct {
	Address string // host:port
	Pod     string // namespace/name, "" when it is not a pod
	// Models are the names this endpoint reports, sorted; nil: not known.
	Models []string
}

// ModelRule says what a model name means inside a pool.
type ModelRule struct {
	// Ref is Kind namespace/name of the object it comes from.
	Ref     string
	Targets []Target
	// Restore says that answers show the name the client asked for
	// (InferenceModelRewrite) instead of the target's (InferenceModel).
	Restore bool
	// Priority of the requests: above 0 critical, below 0 sheddable.
	Priority int

	// Assignment, when not nil, decides between two of the targets (a rollout).
	Assignment *Assignment

	split *Split
}

// Target is one weighted model of a ModelRule.
type Target struct {
	Model  string
	Weight uint32
}

// NewModelRule returns a rule over targets; ref and name identify its split.
func NewModelRule(ref, name string, targets []Target, restore bool, priority int) *ModelRule {
	weights := make([]uint32, len(targets))
	id := "model " + ref + "," + name
	for i, t := range targets {
		weights[i] = t.Weight
		id += "," + t.Model
	}
	return &ModelRule{Ref: ref, Targets: targets, Restore: restore, Priority: priority, split: NewSplit(id, weights)}
}

// Draw returns the next target's model.
func (m *ModelRule) Draw() string {
	i := m.split.Draw()
	if i < 0 {
		return ""
	}
	return m.Targets[i].Model
}

// Serving says whether a pool serves a model, as far as is known.
type Serving int

// What can be known of a pool and a model.
const (
	ServesNot Serving = iota
	ServesMaybe
	ServesYes
)

// Serves says whether requests for model may be sent to the pool. The name ""
// stands for a name nobody has told of.
func (p *Pool) Serves(model string) Serving {
	switch {
	case !p.Inference:
		return ServesYes
	case p.Generic != nil:
		return ServesYes
	case model != "" && p.Rules[model] != nil:
		return ServesYes
	case model != "" && p.reports(model):
		return ServesYes
	case p.Picker != nil:
		return ServesMaybe // it may know other names than its endpoints do
	case p.ModelsKnown:
		return ServesNot
	}
	return ServesMaybe
}

// Declared reports whether an object declares models of the pool, so that a name
// without one is not expected there.
func (p *Pool) Declared() bool { return len(p.Rules) > 0 || len(p.Models) > 0 }

func (p *Pool) reports(model string) bool {
	_, ok := slices.BinarySearch(p.Models, model)
	return ok
}

// Rule returns what model means in the pool: the rule of that name, then the
// generic one, else nil: the name passes unchanged.
func (p *Pool) Rule(model string) *ModelRule {
	if r := p.Rules[model]; r != nil {
		return r
	}
	return p.Generic
}

// Names returns the models that clients may ask the pool for, sorted: declared
// names and those endpoints report.
func (p *Pool) Names() []string {
	var names []string
	p.eachName(func(n string) { names = append(names, n) })
	sort.Strings(names)
	return slices.Compact(names)
}

func (p *Pool) eachName(f func(string)) {
	for name := range p.Rules {
		f(name)
	}
	for _, name := range p.Models {
		f(name)
	}
}

func (p *Pool) eachSplit(f func(*Split)) {
	for _, r := range p.Rules {
		r.eachSplit(f)
	}
	if p.Generic != nil {
		p.Generic.eachSplit(f)
	}
}

func (m *ModelRule) eachSplit(f func(*Split)) {
	f(m.split)
	if m.Assignment != nil {
		m.Assignment.eachSplit(f)
	}
}
