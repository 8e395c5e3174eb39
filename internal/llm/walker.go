package llm

import (
	"unicode/utf16"
	"unicode/utf8"
)

// walker follows one JSON document that arrives in pieces cut anywhere. It
// stops at the tokens its user asks about and remembers the path to where it
// stands; it keeps no text but that of keys and of the values it was told to
// keep. A document that breaks the grammar, or nests deeper than MaxDepth, is
// followed no further: broken is final until reset.
//
// It checks the grammar like the checker in document.go, except for UTF-8:
// responses are forwarded, not judged.
type walker struct {
	state  walkState
	number numberState
	word   string // rest of a literal being read
	isKey  bool   // the string being read is a key
	depth  int    // open lists and objects
	open   nesting

	// path[d] is the key, as a label the user chose, under which the walker
	// stands in the container of depth d; 0 in lists, for other keys, and
	// before the first key. Depths beyond the array are not labelled.
	path [pathDepth + 1]label

	// keep is how many bytes of text of the next value to keep; 0 at all
	// other times. A value kept is announced by tokenText at its start.
	keep int
	kept bool   // text is being kept
	text []byte // what the current or last string or number says, decoded
	cut  bool   // text is incomplete, or stands for no text
	some bool   // the current or last string is not empty
	hex  rune   // digits of a \u escape so far
	digs uint8  // their number
	high rune   // the first half of a surrogate pair, waiting for the second
}

// pathDepth is as deep as anything this package looks for: an argument of a
// tool call in a chat chunk.
const pathDepth = 8

// keyRoom is how many bytes of a key are kept; longer keys are none of ours.
const keyRoom = 32

// label stands for a key; 0 is any key without meaning here.
type label uint8

// walkState is what the walker expects next.
type walkState uint8

const (
	walkValue      walkState = iota
	walkFirstValue           // a value or the end of the list
	walkFirstKey             // a key or the end of the object
	walkKey
	walkColon
	walkAfter // a comma or the end of the container
	walkString
	walkEscape // after a backslash
	walkHex    // in the digits of a \u escape
	walkNumber
	walkWord
	walkDone   // after the document
	walkBroken // not JSON
)

// token is what the walker stopped after.
type token uint8

const (
	tokenNone   token = iota // the piece is used up
	tokenOpen                // a list or an object began
	tokenClose               // one ended
	tokenKey                 // a key; its text is in text unless cut
	tokenText                // the opening quote of a string that is being kept
	tokenString              // a string value
	tokenNumber              // a number; it ended before the bytes that follow
)

// reset makes the walker ready for another document. Room for text stays.
func (w *walker) reset() {
	w.state, w.depth, w.keep, w.path[0] = walkValue, 0, 0, 0
}

// here returns the label of the value the walker stands in or after.
func (w *walker) here() label { return w.at(w.depth) }

// at returns the label at one depth of the path.
func (w *walker) at(depth int) label {
	if depth > pathDepth {
		return 0
	}
	return w.path[depth]
}

// name labels the key just read and says how much of its value's text to keep.
func (w *walker) name(l label, keep int) {
	if w.depth <= pathDepth {
		w.path[w.depth] = l
		w.keep = keep
	}
}

// next reads p up to the end of one token and returns how many bytes that took.
// Only with tokenNumber may that be none.
func (w *walker) next(p []byte) (n int, t token) {
	for n < len(p) {
		switch w.state {
		case walkString, walkEscape, walkHex:
			m, done := w.readString(p[n:])
			n += m
			if done {
				return n, w.endString()
			}
		case walkNumber:
			if s := w.number.after(p[n]); s != numberOver {
				w.number = s
				w.add(p[n : n+1])
				n++
				continue
			}
			if !w.number.complete() {
				w.state = walkBroken
				continue
			}
			w.endValue()
			return n, tokenNumber
		case walkWord:
			n += w.readWord(p[n:])
		case walkBroken:
			return len(p), tokenNone
		default:
			c := p[n]
			n++
			if isSpace(c) {
				continue
			}
			if t = w.step(c); t != tokenNone {
				return n, t
			}
		}
	}
	return n, tokenNone
}

// step reads one byte between the insides of scalars.
func (w *walker) step(c byte) token {
	switch w.state {
	case walkFirstValue:
		if c == ']' {
			return w.close()
		}
		return w.beginValue(c)
	case walkValue:
		return w.beginValue(c)
	case walkFirstKey, walkKey:
		if c == '"' {
			return w.beginKey()
		}
		if c == '}' && w.state == walkFirstKey {
			return w.close()
		}
	case walkColon:
		if c == ':' {
			w.state = walkValue
			return tokenNone
		}
	case walkAfter:
		object := w.open.object(w.depth)
		if c == closing(object) {
			return w.close()
		}
		if c == ',' {
			w.state = walkValue
			if object {
				w.state = walkKey
			}
			return tokenNone
		}
	}
	w.state = walkBroken
	return tokenNone
}

// beginValue reads the first byte of a value.
func (w *walker) beginValue(c byte) token {
	switch {
	case c == '"':
		return w.beginString()
	case c == '{' || c == '[':
		return w.descend(c == '{')
	case c == '-' || isDigit(c):
		w.beginText()
		w.state, w.number = walkNumber, numberStart.after(c)
		if w.kept {
			w.text = append(w.text, c)
		}
	case c == 't':
		w.state, w.word = walkWord, "rue"
	case c == 'f':
		w.state, w.word = walkWord, "alse"
	case c == 'n':
		w.state, w.word = walkWord, "ull"
	default:
		w.state = walkBroken
	}
	return tokenNone
}

// descend enters a list or an object.
func (w *walker) descend(object bool) token {
	w.keep = 0
	if w.depth == MaxDepth {
		w.state = walkBroken
		return tokenNone
	}
	w.depth++
	w.open.set(w.depth, object)
	if w.depth <= pathDepth {
		w.path[w.depth] = 0
	}
	w.state = walkFirstValue
	if object {
		w.state = walkFirstKey
	}
	return tokenOpen
}

// close leaves a list or an object.
func (w *walker) close() token {
	w.depth--
	w.endValue()
	return tokenClose
}

// endValue says what may follow the value that just ended.
func (w *walker) endValue() {
	w.keep = 0
	w.state = walkAfter
	if w.depth == 0 {
		w.state = walkDone
	}
}

// readWord reads on in true, false or null.
func (w *walker) readWord(p []byte) (n int) {
	for n < len(p) && w.word != "" {
		if p[n] != w.word[0] {
			w.state = walkBroken
			return n
		}
		w.word = w.word[1:]
		n++
	}
	if w.word == "" {
		w.endValue()
	}
	return n
}

// beginText starts to keep the text of a value, if it is wanted.
func (w *walker) beginText() {
	w.kept, w.cut, w.text = w.keep > 0, false, w.text[:0]
}

// beginString starts a string value after its opening quote.
func (w *walker) beginString() token {
	w.beginText()
	w.state, w.isKey, w.some, w.high = walkString, false, false, 0
	if w.kept {
		return tokenText
	}
	return tokenNone
}

// beginKey starts a key after its opening quote.
func (w *walker) beginKey() token {
	w.keep = keyRoom
	w.beginText()
	w.state, w.isKey, w.some, w.high = walkString, true, false, 0
	return tokenNone
}

// endString tells what the string just read was.
func (w *walker) endString() token {
	if w.high != 0 {
		w.cut, w.high = true, 0
	}
	if w.isKey {
		w.keep = 0
		w.state = walkColon
		return tokenKey
	}
	w.endValue()
	return tokenString
}

// readString reads on in a string; done reports its closing quote.
func (w *walker) readString(p []byte) (n int, done bool) {
	for n < len(p) {
		switch w.state {
		case walkString:
			m, _ := plainRun(p[n:])
			w.add(p[n : n+m])
			if n += m; n == len(p) {
				return n, false
			}
			switch p[n] {
			case '"':
				return n + 1, true
			case '\\':
				w.state = walkEscape
			default:
				w.state = walkBroken
				return n, false
			}
		case walkEscape:
			w.readEscape(p[n])
		case walkHex:
			w.readHex(p[n])
		}
		if w.state == walkBroken {
			return n, false
		}
		n++
	}
	return n, false
}

// readEscape reads the character after a backslash.
func (w *walker) readEscape(c byte) {
	if c == 'u' {
		w.state, w.hex, w.digs = walkHex, 0, 0
		return
	}
	b, ok := shortEscape(c)
	if !ok {
		w.state = walkBroken
		return
	}
	w.state = walkString
	w.add([]byte{b})
}

// readHex reads one digit of a \u escape.
func (w *walker) readHex(c byte) {
	v, ok := hexDigit(c)
	if !ok {
		w.state = walkBroken
		return
	}
	w.hex = w.hex<<4 | v
	if w.digs++; w.digs < 4 {
		return
	}
	w.state = walkString
	r := w.hex
	switch {
	case !utf16.IsSurrogate(r):
	case w.high == 0 && r < 0xdc00:
		w.high, w.some = r, true
		return
	default:
		// The two halves of a pair, or else half of one, which is no text.
		if r = utf16.DecodeRune(w.high, r); r == utf8.RuneError {
			w.cut = true
		}
		w.high = 0
	}
	var room [utf8.UTFMax]byte
	w.add(utf8.AppendRune(room[:0], r))
}

// add appends to the text being kept.
func (w *walker) add(b []byte) {
	if len(b) == 0 {
		return
	}
	w.some = true
	if w.high != 0 {
		w.cut, w.high = true, 0
	}
	switch {
	case !w.kept || w.cut:
	case len(w.text)+len(b) > w.keep:
		w.cut = true
	default:
		w.text = append(w.text, b...)
	}
}

// numberState is how far into a number, by RFC 8259 §6, the walker has read.
type numberState uint8

const (
	numberStart numberState = iota
	numberMinus
	numberZero // a leading zero, which stands alone
	numberInteger
	numberPoint
	numberFraction
	numberE
	numberSign
	numberExponent
	numberOver // the byte is not part of the number
)

// complete reports whether a number may end here.
func (s numberState) complete() bool {
	return s == numberZero || s == numberInteger || s == numberFraction || s == numberExponent
}

// after returns the state after one more byte.
func (s numberState) after(c byte) numberState {
	switch {
	case isDigit(c):
		return s.afterDigit(c)
	case c == '-' && s == numberStart:
		return numberMinus
	case c == '.' && (s == numberZero || s == numberInteger):
		return numberPoint
	case (c == 'e' || c == 'E') && (s == numberZero || s == numberInteger || s == numberFraction):
		return numberE
	case (c == '+' || c == '-') && s == numberE:
		return numberSign
	}
	return numberOver
}

func (s numberState) afterDigit(c byte) numberState {
	switch s {
	case numberStart, numberMinus:
		if c == '0' {
			return numberZero
		}
		return numberInteger
	case numberInteger:
		return numberInteger
	case numberPoint, numberFraction:
		return numberFraction
	case numberE, numberSign, numberExponent:
		return numberExponent
	}
	return numberOver
}
