package scheduling

import (
	"math/bits"
	"slices"
	"unsafe"
)

// prefixIndex remembers which endpoints were sent which prompt blocks: a hash
// table from a block's hash to the set of endpoint slots that probably hold it
// (prefixset.go), and for each slot a ring of its blocks in the order in which
// they will be forgotten (prefixring.go). There is no pointer per block, so the
// garbage collector does not walk it, and nothing is allocated once it has
// grown to the caches' size.
//
// An engine frees the blocks of a request from the last to the first, so the
// ring takes a chain from its end: the end is forgotten first and what is left
// is always a beginning.
type prefixIndex struct {
	shards [shards]shard
	rings  []ring // by slot
	wide   wideSets
	pairs  int // of a block and a slot, and anonymous blocks

	alive, keep []uint64 // scratch of match, a bit per slot
	changed     []uint64 // of add
}

const (
	// shards divide the table so that growing stops a decision only for a
	// fraction of it.
	shards = 64
	// maxSlots is how many endpoints of a pool the index tells apart; others
	// count as without a cache.
	maxSlots = 1 << 15
	// Room is added at seven eighths, by a quarter: that bounds the bytes per
	// block, and the longest probe.
	growAt, growBy = 7.0 / 8, 1.25
)

// A shard is an open-addressed table with linear probing.
type shard struct {
	entries []entry
	used    int
}

// tag is the part of a hash that tells where its entry is. Rings keep it
// instead of the hash. Two blocks with one tag may be taken for each other when
// they are forgotten, in which case each goes at the other's time.
func tag(hash uint64) uint32 { return uint32(hash) }

func (x *prefixIndex) shard(tag uint32) *shard { return &x.shards[tag%shards] }

// home is where the search for a tag begins.
func (s *shard) home(tag uint32) int {
	const bits = 26 // those that did not choose the shard
	return int(uint64(tag>>6) * uint64(len(s.entries)) >> bits)
}

// find returns the entry of a hash, or nil.
func (x *prefixIndex) find(hash uint64) *entry {
	s := x.shard(tag(hash))
	if s.used == 0 {
		return nil
	}
	for i := s.home(tag(hash)); ; i++ {
		if i == len(s.entries) {
			i = 0
		}
		switch e := &s.entries[i]; e.hash {
		case hash:
			return e
		case 0:
			return nil
		}
	}
}

// findOrAdd returns the entry of a hash, an empty one if it is new.
func (x *prefixIndex) findOrAdd(hash uint64) *entry {
	if e := x.find(hash); e != nil {
		return e
	}
	s := x.shard(tag(hash))
	if float64(s.used+1) > growAt*float64(len(s.entries)) {
		s.grow()
	}
	s.used++
	e := s.free(hash)
	e.hash = hash
	return e
}

// free returns the empty entry where a hash that is not in the shard belongs.
func (s *shard) free(hash uint64) *entry {
	for i := s.home(tag(hash)); ; i++ {
		if i == len(s.entries) {
			i = 0
		}
		if s.entries[i].hash == 0 {
			return &s.entries[i]
		}
	}
}

func (s *shard) grow() {
	old := s.entries
	s.entries = make([]entry, max(16, int(growBy*float64(len(old)))))
	for i := range old {
		if old[i].hash != 0 {
			*s.free(old[i].hash) = old[i]
		}
	}
}

// remove takes the entry at i out and closes the gap, so that no search stops
// short.
func (s *shard) remove(i int) {
	s.used--
	for j := i; ; {
		if j++; j == len(s.entries) {
			j = 0
		}
		if s.entries[j].hash == 0 {
			break
		}
		home := s.home(tag(s.entries[j].hash))
		stays := i < home && home <= j
		if j < i { // the probe has passed the end of the table
			stays = i < home || home <= j
		}
		if !stays {
			s.entries[i] = s.entries[j]
			i = j
		}
	}
	s.entries[i] = entry{}
}

// grow makes room for that many slots.
func (x *prefixIndex) grow(slots int) {
	slots = min(slots, maxSlots)
	for len(x.rings) < slots {
		x.rings = append(x.rings, ring{})
	}
	words := (slots + 63) / 64
	if words <= x.wide.words {
		return
	}
	words = max(words, min(2*x.wide.words, maxSlots/64))
	x.wide.grow(words)
	x.alive, x.keep = make([]uint64, words), make([]uint64, words)
}

// add remembers that slot was sent the blocks and forgets others of the slot
// that its cache has no room for. It returns those that this made any difference
// to, until the next add: the others had been asked for again already.
func (x *prefixIndex) add(hashes []uint64, slot int) (changed []uint64) {
	if slot >= len(x.rings) {
		return nil
	}
	r := &x.rings[slot]
	x.changed = x.changed[:0]
	for i := len(hashes) - 1; i >= 0; i-- {
		switch x.wide.touch(x.findOrAdd(hashes[i]), slot) {
		case touchedNew:
			x.pairs++
			r.push(tag(hashes[i]))
		case touchedBefore:
			continue
		}
		x.changed = append(x.changed, hashes[i])
	}
	x.trim(slot)
	slices.Reverse(x.changed)
	return x.changed
}

// addOldest remembers that slot was sent blocks before all that it has, the latest
// first, as far as there is room.
func (x *prefixIndex) addOldest(hashes []uint64, slot int) {
	if slot >= len(x.rings) {
		return
	}
	r := &x.rings[slot]
	for _, h := range hashes {
		if r.n >= r.capacity {
			return
		}
		if e := x.find(h); e != nil && x.wide.has(e, slot) {
			continue
		}
		x.wide.touch(x.findOrAdd(h), slot)
		x.pairs++
		r.pushFirst(tag(h))
	}
}

// newest returns at most n of a slot's blocks, those that will be forgotten last
// first, behind as many as skip says. 0 stands for a block that is no prompt's.
func (x *prefixIndex) newest(slot, skip, n int) []uint64 {
	if slot >= len(x.rings) {
		return nil
	}
	r := &x.rings[slot]
	n = min(n, r.n-skip)
	if n <= 0 {
		return nil
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = x.hash(r.last(skip+i), slot)
	}
	return out
}

// hash returns that of a slot's block with the tag, 0 when there is none.
func (x *prefixIndex) hash(t uint32, slot int) uint64 {
	s := x.shard(t)
	if t == anonymous || s.used == 0 {
		return 0
	}
	for i := s.home(t); s.entries[i].hash != 0; {
		e := &s.entries[i]
		if tag(e.hash) == t && x.wide.has(e, slot) {
			return e.hash
		}
		if i++; i == len(s.entries) {
			i = 0
		}
	}
	return 0
}

// addAnonymous makes n blocks of a slot's cache that nobody will ask for again,
// such as those of an answer, push others out.
func (x *prefixIndex) addAnonymous(n, slot int) {
	if slot >= len(x.rings) {
		return
	}
	r := &x.rings[slot]
	n = max(0, min(n, r.capacity))
	for range n {
		r.push(anonymous)
	}
	x.pairs += n
	x.trim(slot)
}

// resize sets how many blocks the cache of a slot holds.
func (x *prefixIndex) resize(slot, blocks int) {
	if slot < len(x.rings) {
		x.rings[slot].capacity = blocks
	}
}

// trim forgets blocks of a slot until the rest fits. A block that was asked for
// since the ring last came by is passed over once.
func (x *prefixIndex) trim(slot int) {
	r := &x.rings[slot]
	for r.n > r.capacity {
		t := r.pop()
		if t == anonymous || x.drop(t, slot) {
			x.pairs--
		} else {
			r.push(t)
		}
	}
}

// drop takes slot out of the set of the block with the tag; false when the
// block was asked for and stays this time.
func (x *prefixIndex) drop(t uint32, slot int) bool {
	s := x.shard(t)
	if s.used == 0 {
		return true
	}
	for i := s.home(t); s.entries[i].hash != 0; {
		e := &s.entries[i]
		if tag(e.hash) == t && x.wide.has(e, slot) {
			if x.wide.spare(e, slot) {
				return false
			}
			if x.wide.remove(e, slot) {
				s.remove(i)
			}
			return true
		}
		if i++; i == len(s.entries) {
			i = 0
		}
	}
	return true // another block with this tag went in its place
}

// forget drops all that a slot has.
func (x *prefixIndex) forget(slot int) {
	if slot >= len(x.rings) {
		return
	}
	r := &x.rings[slot]
	for r.n > 0 {
		t := r.pop()
		if t != anonymous {
			for !x.drop(t, slot) { // the second time nothing is spared
			}
		}
		x.pairs--
	}
	*r = ring{}
}

// match sets lengths[slot] to how many of the blocks, without a gap from the
// first, each slot has, and reports whether any has one. lengths must be all 0
// and cover every slot.
func (x *prefixIndex) match(hashes []uint64, lengths []int32) bool {
	if len(hashes) == 0 || x.pairs == 0 {
		return false
	}
	for i := range x.alive {
		x.alive[i] = ^uint64(0)
	}
	for n, h := range hashes {
		e := x.find(h)
		if e == nil {
			clear(x.keep)
			x.settle(x.keep, lengths, int32(n))
			return n > 0
		}
		if !x.settle(x.wide.bits(e, x.keep), lengths, int32(n)) {
			return n > 0
		}
	}
	clear(x.keep)
	x.settle(x.keep, lengths, int32(len(hashes)))
	return true
}

// settle gives the slots that are alive but not in keep their final length, and
// reports whether any is left.
func (x *prefixIndex) settle(keep []uint64, lengths []int32, length int32) bool {
	left := uint64(0)
	for w, alive := range x.alive {
		kept := alive & keep[w]
		left |= kept
		if kept == alive {
			continue
		}
		if length > 0 {
			for gone := alive &^ kept; gone != 0; gone &= gone - 1 {
				lengths[w*64+bits.TrailingZeros64(gone)] = length
			}
		}
		x.alive[w] = kept
	}
	return left != 0
}

// bytes is the memory of the index.
func (x *prefixIndex) bytes() int {
	n := 8 * cap(x.wide.slab)
	for i := range x.shards {
		n += int(unsafe.Sizeof(entry{})) * cap(x.shards[i].entries)
	}
	for i := range x.rings {
		n += int(unsafe.Sizeof(ring{})) + 4*cap(x.rings[i].tags)
	}
	return n
}
