package scheduling

import (
	"math/bits"

	"github.com/cespare/xxhash/v2"
)

const (
	// blockBytes is about 64 tokens.
	blockBytes = 256
	// maxBlocks of a prompt are looked at (512 KiB); its rest counts as not
	// cached.
	maxBlocks = 2048
)

// prefixSeconds is the time to compute what the endpoint's cache does not hold
// of the prompt. At least one token is always computed.
func prefixSeconds(d *Demand, c *Candidate) float64 {
	return float64(max(1, d.Prompt-c.Cached)) * secondsPerPrefill
}

// appendBlockHashes appends a hash for each full block of the prompt. Each
// hash covers the model and the prompt from its beginning, so equal hashes mean
// equal prefixes: an engine's cache can be used only up to the first
// difference. The hash is quick, not secret: whoever forges a collision
// misleads the choice for their own calls. No hash is 0.
func appendBlockHashes(hashes []uint64, model string, prompt []byte) []uint64 {
	const multiplier = 0x9E3779B97F4A7C15
	h := xxhash.Sum64String(model)
	for n := 0; n < maxBlocks && len(prompt) >= blockBytes; n++ {
		h = (bits.RotateLeft64(h, 29) ^ xxhash.Sum64(prompt[:blockBytes])) * multiplier
		h ^= h >> 32
		hashes = append(hashes, max(1, h))
		prompt = prompt[blockBytes:]
	}
	return hashes
}
