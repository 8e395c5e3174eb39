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

// appendBlockHashes appends a hash for each full block of the prompt. Each
// hash covers the model (an adapter's cache is its own), the cache salt and the
// prompt from its beginning, so equal hashes mean equal prefixes: an engine's
// cache can be used only up to the first difference. The hash is quick, not
// secret: whoever forges a collision misleads the choice for their own calls.
// No hash has the tag of an anonymous block.
func appendBlockHashes(hashes []uint64, model, salt string, prompt []byte) []uint64 {
	h := xxhash.Sum64String(model)
	if salt != "" {
		h = mix(h, xxhash.Sum64String(salt))
	}
	for n := 0; n < maxBlocks && len(prompt) >= blockBytes; n++ {
		h = mix(h, xxhash.Sum64(prompt[:blockBytes]))
		if tag(h) == anonymous {
			h++
		}
		hashes = append(hashes, h)
		prompt = prompt[blockBytes:]
	}
	return hashes
}

func mix(h, with uint64) uint64 {
	const multiplier = 0x9E3779B97F4A7C15
	h = (bits.RotateLeft64(h, 29) ^ with) * multiplier
	return h ^ h>>32
}
