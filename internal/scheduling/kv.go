package scheduling

// kvSeconds is the time until enough of the KV cache is free to hold the
// prompt: nothing while it fits, else the time in which enough of the running
// requests end.
func kvSeconds(d *Demand, c *Candidate) float64 {
	l := &c.Load
	if l.KVTokens == 0 {
		return 0
	}
	over := float64(l.KVUsed+d.Prompt-c.Cached) - kvReserve*float64(l.KVTokens)
	if over <= 0 {
		return 0
	}
	each := max(1, float64(l.KVUsed)/float64(max(1, l.Requests)))
	return over / each * l.turnover(d, l.Requests)
}
