package scheduling

import (
	"math/rand/v2"

	"crossfade.dev/internal/routing"
)

// Profile is one way to choose among endpoints: filters, then scorers, then a
// picker, in the words of llm-d and the Gateway API Inference Extension.
type Profile struct {
	Name    string
	Filters []Filter
	Scorers []Scorer
	Picker  Picker
}

// Filter sets candidates aside. It is passed over when it would keep none: a
// doubtful endpoint is better than none.
type Filter struct {
	Name string
	Keep func(*Demand, *Candidate) bool
}

// Scorer adds to a candidate's cost, in seconds of delay for this call and,
// weighed down, for others.
type Scorer struct {
	Name    string
	Seconds func(*Demand, *Candidate) float64
}

// Picker chooses among candidates that have been scored, and returns the index
// of one whose Dropped is empty. There is at least one.
type Picker struct {
	Name string
	Pick func([]Candidate, *rand.Rand) int
}

// Builtin returns the profile that pools are scheduled by.
func Builtin() Profile {
	return Profile{
		Name: "seconds",
		Filters: []Filter{
			{Name: "serves-model", Keep: servesModel},
			{Name: "healthy", Keep: healthy},
		},
		Scorers: []Scorer{
			{Name: "queue", Seconds: queueSeconds},
			{Name: "prefix", Seconds: prefixSeconds},
			{Name: "decode", Seconds: decodeSeconds},
			{Name: "kv", Seconds: kvSeconds},
			{Name: "lora", Seconds: loraSeconds},
		},
		Picker: Picker{Name: "least-seconds", Pick: leastSeconds},
	}
}

// Demand is what a call asks of an endpoint, as estimated for its pool.
type Demand struct {
	Model   string
	Prompt  int  // tokens
	Output  int  // tokens, expected
	Adapter bool // Model is known to be a LoRA adapter
}

// Candidate is one endpoint as it stands at the instant of a call.
type Candidate struct {
	Endpoint *routing.Endpoint
	Load     Load
	// Cached is how many of the prompt's tokens the endpoint's prefix cache
	// probably holds; less than Demand.Prompt, or 0.
	Cached int
	// Adapter says where the call's adapter is; Resident for other models.
	Adapter Residency
	// ActiveAdapters is how many adapters have requests.
	ActiveAdapters int
	// Ejected: it has failed lately and should have no further request now.
	Ejected bool

	// Dropped names the filter that set the candidate aside.
	Dropped string
	// Seconds is the sum of the scores.
	Seconds float64

	endpoint *endpoint
	fresh    bool // the last scrape is believed
}

// Load is the work an endpoint has.
type Load struct {
	Requests int // in flight: ours, and others' that a scrape showed
	Pending  int // prompt tokens ahead that are still to be computed
	Context  int // tokens of all requests, prompts and answers so far
	Slots    int // requests it runs at once, once it was seen full; 0 unknown
	KVUsed   int // tokens
	KVTokens int // tokens that fit; 0 unknown
}

// Residency of an adapter.
type Residency int

// From best to worst.
const (
	Resident Residency = iota // loaded, as far as is known
	FreeSlot                  // must be loaded, into a slot without requests
	NoSlot                    // must wait until another adapter has no requests
)

// servesModel keeps endpoints that report the model and those whose models are
// not known.
func servesModel(d *Demand, c *Candidate) bool {
	models := c.Endpoint.Models
	if models == nil {
		return true
	}
	for _, m := range models { // a handful; sorted, but a scan is as fast
		if m == d.Model {
			return true
		}
	}
	return false
}

func healthy(_ *Demand, c *Candidate) bool { return !c.Ejected }

// leastSeconds takes the cheapest candidate, by lot among equals: without the
// lot, gateways that do not know of each other would all start with the same
// endpoint.
func leastSeconds(candidates []Candidate, r *rand.Rand) int {
	// Sums of the same terms may differ in the last bits.
	const equal = 1e-9
	best, ties := -1, 0
	for i := range candidates {
		c := &candidates[i]
		switch {
		case c.Dropped != "":
		case best < 0 || c.Seconds < candidates[best].Seconds-equal:
			best, ties = i, 1
		case c.Seconds <= candidates[best].Seconds+equal:
			ties++
			if r.IntN(ties) == 0 {
				best = i
			}
		}
	}
	return best
}

// decide runs the profile over the candidates and returns the index of the
// chosen one.
func (p *Profile) decide(d *Demand, candidates []Candidate, r *rand.Rand) int {
	for i := range p.Filters {
		p.Filters[i].apply(d, candidates)
	}
	for i := range candidates {
		c := &candidates[i]
		if c.Dropped != "" {
			continue
		}
		for j := range p.Scorers {
			c.Seconds += p.Scorers[j].Seconds(d, c)
		}
	}
	return p.Picker.Pick(candidates, r)
}

func (f *Filter) apply(d *Demand, candidates []Candidate) {
	kept := 0
	for i := range candidates {
		c := &candidates[i]
		if c.Dropped != "" {
			continue
		}
		if f.Keep(d, c) {
			kept++
		} else {
			c.Dropped = f.Name
		}
	}
	if kept > 0 {
		return
	}
	for i := range candidates {
		if c := &candidates[i]; c.Dropped == f.Name {
			c.Dropped = ""
		}
	}
}
