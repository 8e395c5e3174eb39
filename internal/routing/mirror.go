package routing

import "fmt"

// Mirror has copies of a share of the requests sent to a pool. What the pool
// answers to them is thrown away.
type Mirror struct {
	// Ref is Kind namespace/name of the pool's object, for people.
	Ref  string
	Pool *Pool
	// Of every Denominator requests Numerator are copied; all are when
	// Denominator is 0.
	Numerator, Denominator uint32

	split *Split
}

// Draw reports whether the next request is to be copied. Shares are met as
// exactly as the weights of backends are.
func (m *Mirror) Draw() bool {
	return m.Denominator == 0 || m.split != nil && m.split.Draw() == 0
}

// String prints the mirror as "mirror(Service default/s:80 1/4)".
func (m *Mirror) String() string {
	share := ""
	if m.Denominator > 0 {
		share = fmt.Sprintf(" %d/%d", m.Numerator, m.Denominator)
	}
	return "mirror(" + m.Ref + share + ")"
}

// seal gives the mirror its split; id tells it apart from all others.
func (m *Mirror) seal(id string) {
	if m.Denominator > 0 {
		n := min(m.Numerator, m.Denominator)
		m.split = NewSplit("mirror "+id+" "+m.Ref, []uint32{n, m.Denominator - n})
	}
}

// sealMirrors seals the mirrors of the rule and of its backends.
func (r *Rule) sealMirrors() {
	for i, m := range r.Filters.Mirrors {
		m.seal(fmt.Sprintf("%s %d", r.ID, i))
	}
	for i := range r.Backends {
		for j, m := range r.Backends[i].Filters.Mirrors {
			m.seal(fmt.Sprintf("%s %d.%d", r.ID, i, j))
		}
	}
}

// EachMirror calls f with every mirror of the rule and its backends.
func (r *Rule) EachMirror(f func(*Mirror)) {
	for _, m := range r.Filters.Mirrors {
		f(m)
	}
	for i := range r.Backends {
		for _, m := range r.Backends[i].Filters.Mirrors {
			f(m)
		}
	}
}

// EachPool calls f with every pool that the rule may send requests or copies to.
func (r *Rule) EachPool(f func(*Pool)) {
	for i := range r.Backends {
		if p := r.Backends[i].Pool; p != nil {
			f(p)
		}
	}
	r.EachMirror(func(m *Mirror) { f(m.Pool) })
}
