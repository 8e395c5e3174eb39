package routing

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"math/bits"
	"net/http"
	"strings"
	"sync/atomic"
)

// Buckets is the number of hash buckets of an Assignment; its Share is a number of
// them.
const Buckets = 10_000

// Assignment decides between the two versions of a rollout. Whoever sends a key (a
// session, a user) is in one bucket for as long as the salt stays, and gets the
// candidate while the bucket is below the share: raising the share only adds users,
// lowering it takes back those who came last, and every gateway answers alike.
type Assignment struct {
	Rollout string // namespace/name
	// Revision of the share and the attempt it belongs to, told to whoever asks
	// what this gateway serves.
	Attempt, Revision int64
	// Stable and Candidate are indices among the backends or targets that the
	// rollout is about. In their draw Stable stands for both.
	Stable, Candidate int
	Share             uint32 // 0 … Buckets
	Salt              string
	Keys              []Key
	// Include and Exclude are keys that are pinned: to the candidate, while it has
	// any share, and to stable. Exclude goes first.
	Include, Exclude map[string]struct{}
	// Override is the canonical name of a header by which a request chooses its
	// side itself, with the value "stable" or "candidate"; "" is none.
	Override string
	// Watched says that an attempt is under way: outcomes count as evidence, and a
	// gateway that sees the candidate fail may bar it.
	Watched bool
	// Warmup and Shadow are what gateways do for the candidate beside serving;
	// Cancel says that its running requests are to be cut and that it gets no more. nil
	// and false: nothing.
	Warmup *Warmup
	Shadow *Shadow
	Cancel bool

	random *Split
	shadow *Split
	barred atomic.Bool
}

// Warmup are requests that are sent to every endpoint of the candidate.
type Warmup struct {
	Requests int // to each endpoint
	// Probes are sent in turn; empty: what the gateway has built in.
	Probes []Probe
}

// Probe is one request of a warm-up: a POST of Body, JSON, to Path. The model that
// it names is replaced by the candidate's.
type Probe struct{ Path, Body string }

// Shadow has copies of stable's requests sent to the candidate, whose answers are
// compared and thrown away.
type Shadow struct {
	Percent   int // of stable's requests, 0 to 100
	MaxTokens int // of an answer; 0: the request's own limit
}

// Bar keeps the candidate from getting any more requests by this snapshot. It is
// how a gateway stops a candidate that is out before anybody could tell it to.
func (a *Assignment) Bar() { a.barred.Store(true) }

// Barred reports whether Bar was called.
func (a *Assignment) Barred() bool { return a.barred.Load() }

// EachAssignment calls f with every assignment of the snapshot. One that several
// listeners share comes several times.
func (s *Snapshot) EachAssignment(f func(*Assignment)) {
	for _, p := range s.Ports {
		for _, l := range p.Listeners {
			l.EachRoute(func(r *Route) {
				if r.Rule.Assignment != nil {
					f(r.Rule.Assignment)
				}
			})
		}
	}
	for _, p := range s.Pools {
		p.eachAssignment(f)
	}
}

func (p *Pool) eachAssignment(f func(*Assignment)) {
	for _, m := range p.Rules {
		if m.Assignment != nil {
			f(m.Assignment)
		}
	}
	if m := p.Generic; m != nil && m.Assignment != nil {
		f(m.Assignment)
	}
}

// Key is one place a request may carry its key in: one field is set.
type Key struct {
	Header   string // canonical name
	Cookie   string // name
	Field    string // of a model call's body: BodyUser and its like
	Consumer bool   // the credential
}

// Fields of a model call's body that may be keys (OpenAI's API).
const (
	BodyUser             = "user"
	BodyPromptCacheKey   = "prompt_cache_key"
	BodySafetyIdentifier = "safety_identifier"
)

// Caller is what a request tells of who sends it. Fields of the body are empty where
// it has none, and where the body was not read.
type Caller struct {
	Header                                 http.Header
	User, PromptCacheKey, SafetyIdentifier []byte
}

// value returns what the caller has in the place k, "" for nothing.
func (k *Key) value(c *Caller) string {
	switch {
	case k.Header != "":
		return only(c.Header[k.Header])
	case k.Consumer:
		return cmp.Or(only(c.Header["Authorization"]), only(c.Header["X-Api-Key"]))
	case k.Cookie != "":
		r := http.Request{Header: c.Header}
		if cookie, err := r.Cookie(k.Cookie); err == nil {
			return cookie.Value
		}
		return ""
	}
	switch k.Field {
	case BodyUser:
		return string(c.User)
	case BodyPromptCacheKey:
		return string(c.PromptCacheKey)
	case BodySafetyIdentifier:
		return string(c.SafetyIdentifier)
	}
	return ""
}

func only(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return values[0]
}

// String prints the place as "X-Session", "cookie session", "body user" or "consumer".
func (k Key) String() string {
	switch {
	case k.Consumer:
		return "consumer"
	case k.Cookie != "":
		return "cookie " + k.Cookie
	case k.Field != "":
		return "body " + k.Field
	}
	return k.Header
}

// How says why a request is on its side. Those pinned are no fair sample.
type How int

// The ways of being assigned.
const (
	ByChance How = iota
	ByKey
	Pinned
)

// Seal completes the assignment; call it before the snapshot is armed.
func (a *Assignment) Seal() {
	a.Share = min(a.Share, Buckets)
	a.random = NewSplit("rollout "+a.Rollout+","+a.Salt, []uint32{Buckets - a.Share, a.Share})
	a.shadow = nil
	if a.Shadow != nil {
		p := uint32(min(max(a.Shadow.Percent, 0), 100))
		a.shadow = NewSplit("shadow "+a.Rollout+","+a.Salt, []uint32{100 - p, p})
	}
}

func (a *Assignment) eachSplit(f func(*Split)) {
	f(a.random)
	if a.shadow != nil {
		f(a.shadow)
	}
}

// DrawShadow reports whether the next of stable's requests is to be copied to the
// candidate. The percentage is met as exactly as the weights of backends are.
func (a *Assignment) DrawShadow() bool {
	return a.shadow != nil && !a.Barred() && !a.Cancel && a.shadow.Draw() == 1
}

// Key returns the caller's key, "" when it has none.
func (a *Assignment) Key(c *Caller) string {
	for i := range a.Keys {
		if v := a.Keys[i].value(c); v != "" {
			return v
		}
	}
	return ""
}

// A Place is where a request stands in a rollout.
type Place struct {
	Candidate bool
	How       How
	Key       string // what decided, "" by chance
}

// Assign decides for a request. It is safe for concurrent use.
func (a *Assignment) Assign(c *Caller) Place {
	key := a.Key(c)
	if a.Barred() || a.Cancel {
		return Place{How: Pinned, Key: key}
	}
	if a.Override != "" {
		switch only(c.Header[a.Override]) {
		case "stable":
			return Place{How: Pinned, Key: key}
		case "candidate":
			return Place{Candidate: a.Share > 0, How: Pinned, Key: key}
		}
	}
	if key == "" {
		return Place{Candidate: a.random.Draw() == 1, How: ByChance}
	}
	if _, ok := a.Exclude[key]; ok {
		return Place{How: Pinned, Key: key}
	}
	if _, ok := a.Include[key]; ok {
		return Place{Candidate: a.Share > 0, How: Pinned, Key: key}
	}
	return Place{Candidate: a.bucket(key) < a.Share, How: ByKey, Key: key}
}

// bucket is where a key stands, 0 … Buckets−1.
func (a *Assignment) bucket(key string) uint32 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(a.Salt)) // never fails
	_, _ = h.Write([]byte{0})
	_, _ = h.Write([]byte(key))
	// The sum of FNV alone is uneven in its high bits for short keys.
	b, _ := bits.Mul64(mix(h.Sum64()), Buckets)
	return uint32(b)
}

// String prints the assignment as "rollout n/r 12.5% to candidate by X-Session".
func (a *Assignment) String() string {
	s := fmt.Sprintf("rollout %s %g%%", a.Rollout, float64(a.Share)/100)
	var keys []string
	for _, k := range a.Keys {
		keys = append(keys, k.String())
	}
	return s + field(" by ", strings.Join(keys, ","))
}

// Assign replaces the backend that was drawn for a request by the side of the
// rollout that it is on; ok is false when the draw did not fall on the pair. A
// candidate that is known not to serve the model is spared.
func (r *Rule) Assign(drawn int, model string, c *Caller) (backend int, at Place, ok bool) {
	a := r.Assignment
	if a == nil || drawn != a.Stable && drawn != a.Candidate {
		return drawn, Place{}, false
	}
	at = a.Assign(c)
	if p := r.Backends[a.Candidate].Pool; at.Candidate && a.Share < Buckets && p != nil && p.Serves(model) == ServesNot {
		at.Candidate, at.How = false, Pinned
	}
	if at.Candidate {
		return a.Candidate, at, true
	}
	return a.Stable, at, true
}

// DrawFor returns the next target's model for a request, as Draw does where no
// rollout is under way; ok is false when the draw did not fall on a rollout's pair.
func (m *ModelRule) DrawFor(c *Caller) (model string, at Place, ok bool) {
	i := m.split.Draw()
	if i < 0 {
		return "", Place{}, false
	}
	a := m.Assignment
	if a == nil || i != a.Stable && i != a.Candidate {
		return m.Targets[i].Model, Place{}, false
	}
	at = a.Assign(c)
	if at.Candidate {
		return m.Targets[a.Candidate].Model, at, true
	}
	return m.Targets[a.Stable].Model, at, true
}
