package scheduling

// queueSeconds is the time until the engine takes up this call: the prompts
// ahead of it must be computed, and where the engine runs as many requests as
// it can, some must end first.
func queueSeconds(d *Demand, c *Candidate) float64 {
	l := &c.Load
	ahead := float64(l.Pending)
	seconds := ahead*secondsPerPrefill + ahead/stepTokens*l.step()
	if over := l.Requests + 1 - l.Slots; l.Slots > 0 && over > 0 {
		seconds += float64(over) * l.turnover(d, l.Slots)
	}
	return seconds
}
