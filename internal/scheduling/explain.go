package scheduling

import (
	"fmt"
	"strings"
)

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
	blockTokens := p.means.blockTokens()
	out := make([]Explanation, 0, len(p.order))
	for i, e := range p.order {
		x := Explanation{Address: e.address, Dropped: dropNames[p.dropped[i]]}
		if p.dropped[i] == dropNone {
			cached := p.cached(e, d, blockTokens)
			var price price
			p.priceAt(d, e, now, cached, &price)
			x.Cached, x.Full, x.Seconds = int(cached), price.full, price.terms.sum()
			for t, seconds := range price.terms {
				x.Scores = append(x.Scores, Score{Name: names[t], Seconds: seconds})
			}
		}
		out = append(out, x)
	}
	return out
}
