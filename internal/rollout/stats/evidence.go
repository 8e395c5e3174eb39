package stats

import "math"

// MaxStrata is how many strata of one signal are told apart; what comes later is
// counted in one called Other. Random assignment gives both arms the same mix, so
// a coarse stratum is still a fair one.
const MaxStrata = 16

// Other is the stratum of what came after the first MaxStrata−1.
const Other = "other"

// Evidence is what has been seen of one signal: a Likelihood for each stratum. It
// is a plain value, written to a rollout's state and read back.
type Evidence struct {
	// Strata in the order of their first appearance, at most MaxStrata.
	Strata []Stratum `json:"strata,omitempty"`
	// Late is the evidence of harm that began later than the rollout.
	Late Late `json:"late"`
}

// Stratum is what has been seen in one stratum.
type Stratum struct {
	Name       string     `json:"name"`
	Table      Table      `json:"table"` // the sum of all windows, for people
	Likelihood Likelihood `json:"l"`
}

// Add adds one window of a stratum, to be asked q later. The table has passed
// Check.
func (e *Evidence) Add(s Scale, q Question, stratum string, t Table, temper float64) {
	if t.Candidate.Units == 0 && t.Stable.Units == 0 {
		return
	}
	x := e.stratum(s, stratum)
	x.Table.Candidate = x.Table.Candidate.Add(t.Candidate)
	x.Table.Stable = x.Table.Stable.Add(t.Stable)
	terms := s.table(t, temper)
	x.Likelihood.add(terms)
	e.Late.add(s, q, terms, t.Candidate.Units)
}

// stratum finds or opens a stratum.
func (e *Evidence) stratum(s Scale, name string) *Stratum {
	for i := range e.Strata {
		if e.Strata[i].Name == name {
			return &e.Strata[i]
		}
	}
	if len(e.Strata) >= MaxStrata-1 && name != Other {
		return e.stratum(s, Other)
	}
	e.Strata = append(e.Strata, Stratum{Name: name, Likelihood: s.NewLikelihood()})
	return &e.Strata[len(e.Strata)-1]
}

// Clone returns a copy that shares nothing with e.
func (e Evidence) Clone() Evidence {
	out := Evidence{Strata: append([]Stratum(nil), e.Strata...), Late: e.Late.clone()}
	for i := range out.Strata {
		out.Strata[i].Likelihood = append(Likelihood(nil), out.Strata[i].Likelihood...)
	}
	return out
}

// Fits reports whether every likelihood is of the scale; a stored state may have
// been written by another version.
func (e Evidence) Fits(s Scale) bool {
	for i := range e.Strata {
		if !s.Fits(e.Strata[i].Likelihood) {
			return false
		}
	}
	return len(e.Strata) <= MaxStrata && e.Late.fits()
}

// Total is the table of all strata together. It is for people: pooled rates can
// mislead where strata cannot.
func (e Evidence) Total() Table {
	var t Table
	for i := range e.Strata {
		t.Candidate = t.Candidate.Add(e.Strata[i].Table.Candidate)
		t.Stable = t.Stable.Add(e.Strata[i].Table.Stable)
	}
	return t
}

// Pooled is the likelihood of one odds ratio that all strata share.
func (e Evidence) Pooled(s Scale) Likelihood {
	sum := s.NewLikelihood()
	for i := range e.Strata {
		for j, v := range e.Strata[i].Likelihood {
			sum[j] += v
		}
	}
	return sum
}

// The prior's parts: harm that all strata share from the beginning, harm in one of
// them alone, harm that begins later.
const (
	partShared = 0.6
	partLocal  = 0.2
	partLate   = 1 - partShared - partLocal
)

// combine returns the log of an e-value against "in no stratum at no time", given
// the log of one against it in a likelihood, and the late one. The i-th stratum to
// appear has the prior 1/((i+1)(i+2)): the sum over any number of them is below 1
// and no weight ever changes, so the mixture stays an e-process while strata come.
// What is left of the prior stays with e = 1.
func (e Evidence) combine(s Scale, test func(Likelihood) float64, late float64) float64 {
	logs := []float64{math.Log(partShared) + test(e.Pooled(s)), math.Log(partLate) + late}
	rest := 1.0
	for i := range e.Strata {
		prior := 1 / (float64(i+1) * float64(i+2))
		rest -= prior
		logs = append(logs, math.Log(partLocal*prior)+test(e.Strata[i].Likelihood))
	}
	return LogSum(append(logs, math.Log(partLocal*rest))...)
}

// worst names the stratum in which test finds most, "" without strata.
func (e Evidence) worst(test func(Likelihood) float64) string {
	name, most := "", math.Inf(-1)
	for i := range e.Strata {
		if v := test(e.Strata[i].Likelihood); v > most {
			name, most = e.Strata[i].Name, v
		}
	}
	return name
}

// PairsStratum is the stratum of paired comparisons, which have no table.
const PairsStratum = "pairs"

// AddPairs adds pairs of answers to one prompt of which one was worse. They show
// as units with an event in the arm whose answer was worse.
func (e *Evidence) AddPairs(s Scale, q Question, worse, better int64) {
	x := e.stratum(s, PairsStratum)
	n := worse + better
	x.Table.Candidate = x.Table.Candidate.Add(Tally{n, worse})
	x.Table.Stable = x.Table.Stable.Add(Tally{n, better})
	terms := s.NewLikelihood()
	s.AddPairs(terms, worse, better, 1)
	x.Likelihood.add(terms)
	e.Late.add(s, q, terms, n)
}
