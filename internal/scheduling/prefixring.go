package scheduling

// anonymous is the tag of a block that no prompt will ask for.
const anonymous = 0

// ring is the blocks of one slot, by their tags, in the order in which they
// will be forgotten: a queue in which what is asked for again goes round once
// more (the clock of operating systems).
type ring struct {
	tags     []uint32
	first, n int
	capacity int // blocks
}

func (r *ring) push(t uint32) {
	if r.n == len(r.tags) {
		r.grow()
	}
	at := r.first + r.n
	if at >= len(r.tags) {
		at -= len(r.tags)
	}
	r.tags[at] = t
	r.n++
}

// pushFirst puts in one that is the first to go.
func (r *ring) pushFirst(t uint32) {
	if r.n == len(r.tags) {
		r.grow()
	}
	if r.first--; r.first < 0 {
		r.first += len(r.tags)
	}
	r.tags[r.first] = t
	r.n++
}

// last returns the one that i others come after.
func (r *ring) last(i int) uint32 {
	at := r.first + r.n - 1 - i
	if at >= len(r.tags) {
		at -= len(r.tags)
	}
	return r.tags[at]
}

// pop takes the first; there must be one.
func (r *ring) pop() uint32 {
	t := r.tags[r.first]
	if r.first++; r.first == len(r.tags) {
		r.first = 0
	}
	r.n--
	return t
}

func (r *ring) grow() {
	tags := make([]uint32, max(16, r.n+r.n/4))
	n := copy(tags, r.tags[r.first:])
	copy(tags[n:], r.tags[:r.first])
	r.tags, r.first = tags, 0
}
