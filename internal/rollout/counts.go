package rollout

import "time"

// Counts are what one gateway has counted for all rollouts since it started. They
// only grow, except for those that say how things are now, so whoever reads them
// twice knows what happened between.
type Counts struct {
	// Epoch names the gateway's process: counts of another one begin anew.
	Epoch string    `json:"epoch"`
	At    time.Time `json:"at"`
	// Rollouts that its snapshot has a part of, and those of which requests still
	// run, by name and attempt.
	Rollouts []RolloutCounts `json:"rollouts,omitempty"`
}

// RolloutCounts are the counts of one attempt of one rollout at one gateway.
type RolloutCounts struct {
	Rollout string `json:"rollout"` // namespace/name
	Attempt int64  `json:"attempt"`
	// Revision of the share that is served; 0 while the snapshot has none of it.
	Revision int64 `json:"revision"`
	// Candidate and Stable: arrivals since the beginning, all else as it is now.
	Candidate Arm `json:"candidate"`
	Stable    Arm `json:"stable"`
	// NoModel names the candidate's endpoints that do not serve its model.
	NoModel []string `json:"noModel,omitempty"`
	// Warm is how many warm-up requests each endpoint of the candidate has answered,
	// by address, and Steady says that their latency has become steady.
	Warm   map[string]int `json:"warm,omitempty"`
	Steady bool           `json:"steady,omitempty"`
	// Breaker says why this gateway sends nothing to the candidate; "" while it does.
	Breaker string `json:"breaker,omitempty"`
	// Samples by metric and stratum, of closed windows: a unit and its event are
	// counted together.
	Samples map[string]map[string]Sample `json:"samples,omitempty"`
}
