package scheduling

// entry is a block and the slots that have it. Most blocks are had by few, so
// up to len(ids) slots lie in the entry; more become two rows of bits in
// wideSets. 24 bytes.
type entry struct {
	hash uint64 // 0: the entry is empty
	n    uint8  // of ids, or isWide
	ids  [narrow]uint16
}

const (
	narrow = 7
	// isWide: ids[0] and ids[1] are the number of the rows.
	isWide = 255
	// asked marks an id whose block was asked for again since the slot's ring
	// last came by. The rest is the slot.
	asked = 1 << 15
)

func (e *entry) row() int { return int(e.ids[0]) | int(e.ids[1])<<16 }

// index returns where slot is among the ids of a narrow entry, or -1.
func (e *entry) index(slot int) int {
	for i := range e.n {
		if int(e.ids[i]&^asked) == slot {
			return int(i)
		}
	}
	return -1
}

// wideSets hold the sets that do not fit into an entry: for each a row of bits
// that say who has the block and one that say where it was asked for again.
type wideSets struct {
	slab  []uint64
	words int // of a row
	free  []int32
	count int // of sets, free ones included
}

func (w *wideSets) rows(e *entry) (have, asked []uint64) {
	at := e.row() * 2 * w.words
	return w.slab[at : at+w.words], w.slab[at+w.words : at+2*w.words]
}

// grow widens all rows.
func (w *wideSets) grow(words int) {
	old := *w
	w.words = words
	w.slab = make([]uint64, 2*words*w.count)
	for row := range 2 * w.count {
		copy(w.slab[row*words:], old.slab[row*old.words:(row+1)*old.words])
	}
}

// touched is what a touch found.
type touched uint8

const (
	touchedNew    touched = iota // slot was not in the set
	touchedAgain                 // it was, and is asked for again now
	touchedBefore                // that it was before
)

// touch puts slot into the set of e, or notes that it was asked again.
func (w *wideSets) touch(e *entry, slot int) touched {
	if e.n == isWide {
		have, again := w.rows(e)
		word, bit := slot/64, uint64(1)<<(slot%64)
		switch {
		case have[word]&bit == 0:
			have[word] |= bit
			return touchedNew
		case again[word]&bit == 0:
			again[word] |= bit
			return touchedAgain
		}
		return touchedBefore
	}
	if i := e.index(slot); i >= 0 {
		if e.ids[i]&asked != 0 {
			return touchedBefore
		}
		e.ids[i] |= asked
		return touchedAgain
	}
	if e.n < narrow {
		e.ids[e.n] = uint16(slot)
		e.n++
		return touchedNew
	}
	w.widen(e)
	return w.touch(e, slot)
}

func (w *wideSets) widen(e *entry) {
	ids := e.ids
	row := w.count
	if last := len(w.free) - 1; last >= 0 {
		row = int(w.free[last])
		w.free = w.free[:last]
	} else {
		w.count++
		for len(w.slab) < 2*w.words*w.count {
			w.slab = append(w.slab, 0)
		}
	}
	e.n, e.ids = isWide, [narrow]uint16{uint16(row), uint16(row >> 16)}
	have, again := w.rows(e)
	clear(have)
	clear(again)
	for _, id := range ids {
		slot := int(id &^ asked)
		have[slot/64] |= 1 << (slot % 64)
		if id&asked != 0 {
			again[slot/64] |= 1 << (slot % 64)
		}
	}
}

func (w *wideSets) has(e *entry, slot int) bool {
	if e.n == isWide {
		have, _ := w.rows(e)
		return have[slot/64]>>(slot%64)&1 != 0
	}
	return e.index(slot) >= 0
}

// spare reports whether slot was asked for the block of e again, and forgets
// that. slot must be in the set.
func (w *wideSets) spare(e *entry, slot int) bool {
	if e.n == isWide {
		_, again := w.rows(e)
		word, bit := slot/64, uint64(1)<<(slot%64)
		spared := again[word]&bit != 0
		again[word] &^= bit
		return spared
	}
	i := e.index(slot)
	spared := e.ids[i]&asked != 0
	e.ids[i] &^= asked
	return spared
}

// remove takes slot out of the set of e and reports whether that leaves it
// empty. slot must be in the set.
func (w *wideSets) remove(e *entry, slot int) bool {
	if e.n != isWide {
		i := e.index(slot)
		e.n--
		e.ids[i] = e.ids[e.n]
		return e.n == 0
	}
	have, again := w.rows(e)
	have[slot/64] &^= 1 << (slot % 64)
	again[slot/64] &^= 1 << (slot % 64)
	for _, word := range have {
		if word != 0 {
			return false
		}
	}
	w.free = append(w.free, int32(e.row()))
	return true
}

// bits returns the slots of e as a row of bits, in scratch unless it has one.
func (w *wideSets) bits(e *entry, scratch []uint64) []uint64 {
	if e.n == isWide {
		have, _ := w.rows(e)
		return have
	}
	clear(scratch)
	for _, id := range e.ids[:e.n] {
		slot := id &^ asked
		scratch[slot/64] |= 1 << (slot % 64)
	}
	return scratch
}
