package scheduling

// sampling is the share of blocks that sharing looks at: one in so many. A
// prompt's blocks are chosen by their hash, so those of a common prefix are
// chosen, or not, in all prompts alike.
const sampling = 8

// sharing counts which blocks are in use by requests in flight, so that those
// which several requests share count once. Without that a popular system
// prompt would seem to fill a cache many times over.
type sharing struct {
	used map[sharedBlock]int32
}

type sharedBlock struct {
	hash uint64
	slot int32
}

// sampled appends those of the hashes that are looked at.
func sampled(to, hashes []uint64) []uint64 {
	for _, h := range hashes {
		if h>>61 == 0 { // one in 8
			to = append(to, h)
		}
	}
	return to
}

// take notes blocks as in use at a slot and returns how many were not before.
func (s *sharing) take(blocks []uint64, slot int) (fresh int) {
	if s.used == nil {
		s.used = map[sharedBlock]int32{}
	}
	for _, h := range blocks {
		key := sharedBlock{h, int32(slot)}
		n := s.used[key]
		if n == 0 {
			fresh++
		}
		s.used[key] = n + 1
	}
	return fresh
}

// give undoes take and returns how many are in use no more.
func (s *sharing) give(blocks []uint64, slot int) (freed int) {
	for _, h := range blocks {
		key := sharedBlock{h, int32(slot)}
		if n := s.used[key]; n > 1 {
			s.used[key] = n - 1
		} else {
			delete(s.used, key)
			freed++
		}
	}
	return freed
}
