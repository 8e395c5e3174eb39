package scheduling

import "math"

// pace is what an answer's speed depends on at one endpoint.
type pace struct {
	level   float64 // seconds that its requests add to each step
	prompts float64 // part of its time that prompts took lately
}

// usual is what the paces of a decision's candidates are compared with. What all
// of them have in common decides nothing.
type usual struct {
	level   float64 // mean
	half    float64 // 1/(2 level); a division for each candidate takes long
	least   float64 // of levels
	prompts float64 // the least
}

func newUsual() usual { return usual{least: math.Inf(1), prompts: math.Inf(1)} }

// add takes a candidate in; level is the sum until settle.
func (u *usual) add(x *pace) {
	u.level += x.level
	if x.level < u.least {
		u.least = x.level
	}
	if x.prompts < u.prompts {
		u.prompts = x.prompts
	}
}

// settle ends adding n candidates.
func (u *usual) settle(n int) {
	u.level /= float64(max(1, n))
	u.half = 1 / (2 * u.level)
}

// slowed is by how much an answer would be slower at an endpoint than at the
// quickest, in weighed seconds.
//
// Requests that decode there slow it less than they would if all stayed as it
// is: calls to come go where there is less to do, and even the levels out. A
// pool in balance builds its whole mean level anew in the time of one answer
// (Little's law), so a difference is made up for in as much of that time as it is
// of the mean, and while it shrinks half of it counts. Without that, one request
// more would outweigh waiting for another's prompt, and calls would be sent
// behind prompts for the sake of a balance that comes by itself.
//
// Prompts interrupt it, as many as came there lately: calls with a shared prefix or
// a long conversation come again to where it is cached. That difference stays.
func (p *pool) slowed(d *demand, x *pace) float64 {
	above, mean := x.level-p.usual.least, p.usual.level
	if above < mean {
		above *= above * p.usual.half
	} else {
		above -= mean / 2
	}
	return d.output * (p.weights.decode*above +
		p.weights.prompts*(x.prompts-p.usual.prompts)*(p.engine.step+x.level))
}

// promptMemory is how long ago a prompt weighs 1/e of a new one, in seconds: about
// the time between the turns of a conversation, for which it is a forecast.
const promptMemory = 60.0

// recent is the age of sums that fade with time. Rather than every sum fading,
// what is added later counts for more. A clock that went back stands still.
type recent struct{ since float64 }

// oldest is when sums are brought back to scale, in units of promptMemory; far
// from where a float64 ends.
const oldest = 100.0

// inflate is by how much something that happens now counts for more. False: it is
// time to divide all sums by it and to begin anew.
func (r *recent) inflate(now float64) (factor float64, ok bool) {
	age := max(0, now-r.since) / promptMemory
	return math.Exp(age), age < oldest
}

// deflate turns a sum into its part of the time, now.
func (r *recent) deflate(now float64) float64 {
	return math.Exp(min(0, r.since-now)/promptMemory) / promptMemory
}

// prompt books that an endpoint computes so many tokens of a prompt.
func (p *pool) prompt(e *endpoint, tokens, now float64) {
	factor, ok := p.prompted.inflate(now)
	if !ok {
		for _, o := range p.endpoints {
			o.prompted /= factor
		}
		p.prompted.since, factor = now, 1
	}
	e.prompted += factor * tokens * p.engine.prefill
}
