package scheduling

// decodeWeight discounts slower tokens against a later first token; 0.3 did
// best over all loads in simulation.
const decodeWeight = 0.3

// decodeSeconds is how much longer the answer takes because other requests
// share the engine's steps.
func decodeSeconds(d *Demand, c *Candidate) float64 {
	return decodeWeight * float64(d.Output) * (c.Load.step() - secondsPerStep)
}
