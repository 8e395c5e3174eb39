package scheduling

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Explained is one decision that was kept to be looked at.
type Explained struct {
	At     time.Time `json:"at"`
	Pool   string    `json:"pool"`
	Model  string    `json:"model"`
	Prompt int       `json:"promptTokens"` // estimated
	Output int       `json:"outputTokens"` // expected
	Chosen string    `json:"chosen"`       // an address; "" when the call had to wait
	// Candidates are the one chosen, then the cheapest endpoints, those that were
	// set aside last; Of is how many there were.
	Candidates []Explanation `json:"candidates"`
	Of         int           `json:"of"`
}

const (
	// Of each pool one decision per second is kept, of those the last few, and
	// of each the cheapest candidates.
	explainEvery      = 1.0 // seconds
	explainKept       = 8
	explainCandidates = 16
)

// keep remembers a decision, if it is time for one.
func (p *pool) keep(call *Call, d *demand, index int, now float64) {
	if len(p.kept) > 0 && now < p.keptAt+explainEvery {
		return
	}
	p.keptAt = now
	x := Explained{
		At: call.At, Pool: p.aligned.ID, Model: call.Model, Prompt: int(d.prompt), Output: int(d.output),
		Candidates: p.explain(d, now), Of: len(p.order),
	}
	if index >= 0 {
		x.Chosen = p.order[index].address
	}
	slices.SortStableFunc(x.Candidates, func(a, b Explanation) int {
		switch x.Chosen {
		case a.Address:
			return -1
		case b.Address:
			return 1
		}
		return cmp.Or(cmp.Compare(a.Dropped, b.Dropped), cmp.Compare(a.Seconds, b.Seconds))
	})
	x.Candidates = slices.Clone(x.Candidates[:min(len(x.Candidates), explainCandidates)])
	if len(p.kept) == explainKept {
		p.kept = slices.Delete(p.kept, 0, 1)
	}
	p.kept = append(p.kept, x)
}

// Explained returns decisions that were kept, the oldest first: one per second
// of each pool, and only the last few.
func (s *Scheduler) Explained() []Explained {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []Explained
	for _, p := range s.pools {
		p.mu.Lock()
		out = append(out, p.kept...)
		p.mu.Unlock()
	}
	slices.SortStableFunc(out, func(a, b Explained) int { return a.At.Compare(b.At) })
	return out
}

// String is the decision on several lines: what was asked, then the candidates,
// the chosen one marked.
func (x Explained) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s model=%s prompt=%d output=%d", x.At.UTC().Format(time.RFC3339), x.Pool, x.Model, x.Prompt, x.Output)
	if x.Chosen == "" {
		b.WriteString(" waits")
	}
	b.WriteString("\n")
	for _, c := range x.Candidates {
		mark := "  "
		if c.Address == x.Chosen {
			mark = "* "
		}
		b.WriteString(mark + c.String() + "\n")
	}
	if more := x.Of - len(x.Candidates); more > 0 {
		fmt.Fprintf(&b, "  and %d more\n", more)
	}
	return b.String()
}

// Explanation says how one candidate compared.
type Explanation struct {
	Address string  `json:"address"`
	Dropped string  `json:"dropped,omitempty"` // why it was set aside
	Cached  int     `json:"cached"`            // prompt tokens it probably holds
	Full    bool    `json:"full,omitempty"`    // the call would have to wait inside the engine
	Seconds float64 `json:"seconds"`           // sum of Scores
	Scores  []Score `json:"scores,omitempty"`
}

// Score is one part of a candidate's cost.
type Score struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// String is one line: the address, then the sum and its parts in milliseconds.
// Parts that are nothing are left out.
func (e Explanation) String() string {
	if e.Dropped != "" {
		return e.Address + " dropped: " + e.Dropped
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %.1fms", e.Address, 1000*e.Seconds)
	for _, s := range e.Scores {
		if s.Seconds != 0 {
			fmt.Fprintf(&b, " %s=%.1f", s.Name, 1000*s.Seconds)
		}
	}
	if e.Cached > 0 {
		fmt.Fprintf(&b, " cached=%d", e.Cached)
	}
	if e.Full {
		b.WriteString(" full")
	}
	return b.String()
}

// explain repeats the comparison that decide made.
func (p *pool) explain(d *demand, now float64) []Explanation {
	names := termNames()
	blockTokens, deflate := p.means.blockTokens(), p.prompted.deflate(now)
	out := make([]Explanation, 0, len(p.order))
	for i, e := range p.order {
		x := Explanation{Address: e.address, Dropped: dropNames[p.dropped[i]]}
		if p.dropped[i] == dropNone {
			cached := p.cached(e, d, blockTokens)
			var b bid
			var parts terms
			p.priceAt(d, e, now, deflate, cached, &b, &parts)
			parts[termDecode] = p.slowed(d, &b.pace)
			x.Cached, x.Full, x.Seconds = int(cached), b.full, b.seconds+parts[termDecode]
			for t, seconds := range parts {
				x.Scores = append(x.Scores, Score{Name: names[t], Seconds: seconds})
			}
		}
		out = append(out, x)
	}
	return out
}
