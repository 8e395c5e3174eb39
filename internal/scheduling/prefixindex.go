package scheduling

import "math/bits"

// ways is how many places a block has to choose from.
const ways = 8

// prefixIndex remembers which endpoints were sent which prompt blocks: a hash
// table of fixed size from block hash to a set of endpoint slots. A block that
// finds its places taken replaces the least recently used one. There is no
// pointer in it, so the garbage collector does not walk it.
type prefixIndex struct {
	hashes []uint64 // ways per bucket; 0 is empty
	used   []uint32 // tick of last use
	slots  []uint64 // words per entry: bit s is set when slot s has the block
	words  int
	mask   uint64 // buckets - 1
	tick   uint32

	alive []uint64 // scratch of match
}

// entryBytes is what the index takes for each block.
func entryBytes(words int) int { return 8 + 4 + 8*words }

// grow makes room for at least that many endpoints and, within a limit of
// bytes, blocks. What the index knows is kept.
func (x *prefixIndex) grow(endpoints, blocks, limit int) {
	words := max(x.words, (endpoints+63)/64)
	buckets := 1
	for buckets*ways < blocks && 2*buckets*ways*entryBytes(words) <= limit {
		buckets *= 2
	}
	if words == x.words && buckets <= len(x.hashes)/ways {
		return
	}
	old := *x
	*x = prefixIndex{
		hashes: make([]uint64, buckets*ways),
		used:   make([]uint32, buckets*ways),
		slots:  make([]uint64, buckets*ways*words),
		words:  words,
		mask:   uint64(buckets - 1),
		tick:   old.tick,
		alive:  make([]uint64, words),
	}
	for i, h := range old.hashes {
		if h == 0 {
			continue
		}
		at := x.place(h)
		x.hashes[at], x.used[at] = h, old.used[i]
		clear(x.entry(at))
		copy(x.entry(at), old.entry(i))
	}
}

func (x *prefixIndex) entry(i int) []uint64 { return x.slots[i*x.words : (i+1)*x.words] }

// find returns the entry of h, or -1.
func (x *prefixIndex) find(h uint64) int {
	first := int(h&x.mask) * ways
	for i, have := range x.hashes[first : first+ways] {
		if have == h {
			return first + i
		}
	}
	return -1
}

// place returns the entry that h has or should take.
func (x *prefixIndex) place(h uint64) int {
	first := int(h&x.mask) * ways
	oldest, age := first, uint32(0)
	for i := first; i < first+ways; i++ {
		if x.hashes[i] == h || x.hashes[i] == 0 {
			return i
		}
		if a := x.tick - x.used[i]; a > age {
			oldest, age = i, a
		}
	}
	return oldest
}

// add remembers that slot was sent the blocks. The beginning is marked as used
// after the end, so that of a chain the end is forgotten first, as engines do;
// the beginning may still serve.
func (x *prefixIndex) add(hashes []uint64, slot int) {
	for i := len(hashes) - 1; i >= 0; i-- {
		h := hashes[i]
		at := x.place(h)
		entry := x.entry(at)
		if x.hashes[at] != h {
			x.hashes[at] = h
			clear(entry)
		}
		entry[slot/64] |= 1 << (slot % 64)
		x.tick++
		x.used[at] = x.tick
	}
}

// match sets lengths[slot] to how many of the blocks, without a gap from the
// first, each slot was sent. lengths must be all 0 and cover every slot.
func (x *prefixIndex) match(hashes []uint64, lengths []int32) {
	if len(x.hashes) == 0 || len(hashes) == 0 {
		return
	}
	for i := range x.alive {
		x.alive[i] = ^uint64(0)
	}
	for n, h := range hashes {
		at := x.find(h)
		if at < 0 {
			x.settle(nil, lengths, int32(n))
			return
		}
		if !x.settle(x.entry(at), lengths, int32(n)) {
			return
		}
	}
	x.settle(nil, lengths, int32(len(hashes)))
}

// settle gives the slots that are alive but not in entry (nil: in none) their
// final length, and reports whether any is left.
func (x *prefixIndex) settle(entry []uint64, lengths []int32, length int32) bool {
	left := uint64(0)
	for w, alive := range x.alive {
		keep := uint64(0)
		if entry != nil {
			keep = alive & entry[w]
		}
		if length > 0 {
			for gone := alive &^ keep; gone != 0; gone &= gone - 1 {
				lengths[w*64+bits.TrailingZeros64(gone)] = length
			}
		}
		x.alive[w] = keep
		left |= keep
	}
	return left != 0
}

// forget removes slots from every block; it walks the whole index.
func (x *prefixIndex) forget(slots []int) {
	if x.words == 0 {
		return
	}
	gone := make([]uint64, x.words)
	for _, slot := range slots {
		gone[slot/64] |= 1 << (slot % 64)
	}
	for i := range x.slots {
		x.slots[i] &^= gone[i%x.words]
	}
}
