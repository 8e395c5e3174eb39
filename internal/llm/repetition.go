package llm

// repetition finds out whether a text, which arrives in pieces cut anywhere, goes
// round in circles: whether more than half of the last [gramWindow] grams had
// appeared within the gramWindow grams before each.
//
// A gram is gramUnits units in a row. A unit is a word of a script that has spaces
// (Latin, Greek, Cyrillic, Hebrew, Arabic; digits too), one character of any other
// (Chinese, Japanese, Thai, emoji), or pieceLength bytes of a longer run of either
// words or ASCII marks and white space. Shorter runs of these are no unit: they
// would make lists and tables look alike. Grams are long for the same reason: in
// rows of a table or objects of a list something differs in nearly each, while of a
// sentence that is said again and again none does. The price is that circles which
// count aloud are not found.
//
// It keeps hashes, no text. Two grams that share one by chance, and grams that push
// each other out of the table, change a count or two in hundreds.
type repetition struct {
	unit   uint32 // hash of the unit being read
	length uint8  // its bytes, 0 before it
	kind   byteKind

	same byte   // the last byte
	run  uint16 // how often it has come in a row

	units  [gramUnits]uint32 // of the last gram, a ring
	gram   uint64            // rolling hash over them
	count  int               // units so far
	grams  [gramWindow]uint32
	again  [gramWindow / 64]uint64 // a bit for each of grams: it had appeared before
	repeat int                     // bits set in again
	table  [gramTable]uint16       // by hash: where in grams it was last
	found  bool
}

const (
	gramUnits   = 16
	gramWindow  = 512
	gramTable   = 2048 // four times the window, so that few grams share a place
	pieceLength = 16

	// leastGrams is how many grams an answer must have to be judged: less is too
	// little to be called a circle.
	leastGrams = gramWindow / 2

	// longestRun is how often one byte may come in a row. Engines whose numbers
	// overflow write the same mark for ever.
	longestRun = 256
)

// byteKind is what a byte of UTF-8 means to repetition.
type byteKind uint8

const (
	byteMark byteKind = iota // ASCII, but no letter or digit
	byteWord                 // a letter or digit, or the start of a character of two bytes
	byteWide                 // the start of a longer character
	byteMore                 // a later byte of a character
)

var byteKinds = func() (k [256]byteKind) {
	for c := range k {
		switch {
		case '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || c == '_':
			k[c] = byteWord
		case c >= 0xe0:
			k[c] = byteWide
		case c >= 0xc0:
			k[c] = byteWord
		case c >= 0x80:
			k[c] = byteMore
		}
	}
	return k
}()

// reset makes r ready for another text. What it leaves in the arrays is never
// read: count tells how much of them is of this text.
func (r *repetition) reset() {
	r.unit, r.length, r.kind, r.run = 0, 0, byteMark, 0
	r.gram, r.count, r.repeat, r.found = 0, 0, 0, false
	r.units = [gramUnits]uint32{}
	r.again = [gramWindow / 64]uint64{}
}

// write reads on in the text.
func (r *repetition) write(p []byte) {
	const prime = 16777619 // of FNV-1a
	if r.found {
		return
	}
	// In variables, for the fields would be written back at every byte.
	unit, length, kind, same, run := r.unit, r.length, r.kind, r.same, r.run
	for _, c := range p {
		if c != same {
			same, run = c, 0
		}
		if run++; run == longestRun {
			r.found = true
			return
		}
		k := byteKinds[c]
		if k != kind && k != byteMore || k == byteWide || length == pieceLength {
			if length > 0 && (kind != byteMark || length == pieceLength) {
				r.add(unit)
			}
			unit, length = 0, 0
			if k != byteMore {
				kind = k
			}
		}
		unit = (unit ^ uint32(c)) * prime
		length++
	}
	r.unit, r.length, r.kind, r.same, r.run = unit, length, kind, same, run
}

// add takes over a complete unit.
func (r *repetition) add(unit uint32) {
	const base = 0x9e3779b97f4a7c15
	oldest := &r.units[r.count%gramUnits]
	r.gram = r.gram*base + uint64(unit) - uint64(*oldest)*basePower
	*oldest = unit
	r.count++
	if r.count >= gramUnits {
		r.addGram(r.count-gramUnits, uint32(r.gram*base>>32))
	}
}

// basePower is base of [repetition.add] to the power of gramUnits, modulo 2^64.
var basePower = func() uint64 {
	p := uint64(1)
	for range gramUnits {
		p *= 0x9e3779b97f4a7c15
	}
	return p
}()

// addGram takes over the n-th gram, counted from 0.
func (r *repetition) addGram(n int, gram uint32) {
	at := n % gramWindow
	word, bit := &r.again[at/64], uint64(1)<<(at%64)
	if *word&bit != 0 { // of the gram that leaves the window
		*word &^= bit
		r.repeat--
	}
	last := &r.table[gram%gramTable]
	// The table may hold a place of an earlier text, or one that is taken since.
	if int(*last) < min(n, gramWindow) && r.grams[*last] == gram {
		*word |= bit
		r.repeat++
	}
	r.grams[at], *last = gram, uint16(at)
	if n+1 >= leastGrams && 2*r.repeat > min(n+1, gramWindow) {
		r.found = true
	}
}
