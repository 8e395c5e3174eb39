package llm

import "unicode/utf8"

// walker follows one JSON document that arrives in pieces cut anywhere. It
// stops at the tokens its user asks about and remembers the path to where it
// stands; it keeps no text but that of keys and of the values it was told to
// keep. Text of other values it can hand over as it passes. A document that breaks the grammar, or nests deeper than MaxDepth, is
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
	object bool   // the innermost of them is an object
	open   nesting

	// path[d] is the key, as a label the user chose, under which the walker
	// stands in the container of depth d; 0 in lists, for other keys, and
	// before the first key. Depths beyond the array are not labelled.
	path [pathDepth + 1]label

	// keep is how many bytes of text of the next value to keep, 0 but for
	// the value of a key that was named so. A string that is kept is
	// announced by tokenText at its start.
	keep int

	// listen asks for the text of the next value, if it is a string, in pieces:
	// tokenPiece, each in piece. It may be set after the value's key.
	listen bool
	heard  bool   // the current string is being listened to
	piece  []byte // the last piece; a part of what was read, or of room
	room   [utf8.UTFMax]byte

	kept bool   // text is being kept
	text []byte // what the current or last string or number says, decoded
	cut  bool   // it is longer than that, or no text at all, and text is empty
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
	tokenPiece               // some text of a string that is listened to; it is in piece
	tokenString              // a string value; if it was listened to, piece holds what is left of it
	tokenNumber              // a number that was kept; it ended before the bytes that follow
)

// reset makes the walker ready for another document. Room for text stays.
func (w *walker) reset() {
	w.state, w.depth, w.keep, w.listen = walkValue, 0, 0, false
	w.piece = nil // it may be a part of somebody else's buffer
}

// here returns the label of the value the walker stands in or after.
func (w *walker) here() label { return w.at(w.depth) }

// at returns the label at one depth of the path, 0 beyond its end: what is
// written there is left over from containers that are closed.
func (w *walker) at(depth int) label {
	if depth > min(w.depth, pathDepth) {
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
			if w.heard && len(w.piece) > 0 {
				return n, tokenPiece
			}
		case walkNumber:
			m, done := w.readNumber(p[n:])
			n += m
			if done && w.kept {
				return n, tokenNumber
			}
		case walkWord:
			n += w.readWord(p[n:])
		case walkBroken:
			return len(p), tokenNone
		default:
			c := p[n]
			n++
			if c <= ' ' && isSpace(c) {
				continue
			}
			if t = w.step(c); t != tokenNone {
				return n, t
			}
			if w.state == walkString && !w.heard {
				if m := w.wholeString(p[n:]); m > 0 {
					return n + m, w.endString()
				}
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
		if c == ',' {
			w.state = walkValue
			if w.object {
				w.state = walkKey
			}
			return tokenNone
		}
		if c == closing(w.object) {
			return w.close()
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
		w.heard = false
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
	w.keep, w.listen = 0, false
	if w.depth == MaxDepth {
		w.state = walkBroken
		return tokenNone
	}
	w.depth++
	w.object = object
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
	w.object = w.depth > 0 && w.open.object(w.depth)
	w.endValue()
	return tokenClose
}

// endValue says what may follow the value that just ended.
func (w *walker) endValue() {
	w.state = walkAfter
	if w.depth == 0 {
		w.state = walkDone
	}
}

// readNumber reads on in a number; done reports that it is over and well
// formed, which shows only at the byte after it.
func (w *walker) readNumber(p []byte) (n int, done bool) {
	for n < len(p) {
		if isDigit(p[n]) && w.number.inDigits() {
			n++
			continue
		}
		s := w.number.after(p[n])
		if s == numberOver {
			break
		}
		w.number = s
		n++
	}
	w.add(p[:n])
	switch {
	case n == len(p):
		return n, false
	case !w.number.complete():
		w.state = walkBroken
		return n, false
	}
	w.endValue()
	return n, true
}

// readWord reads on in true, false or null.
func (w *walker) readWord(p []byte) (n int) {
	if len(p) >= len(w.word) && string(p[:len(w.word)]) == w.word {
		w.endValue()
		return len(w.word)
	}
	for n < len(p) {
		if p[n] != w.word[0] {
			w.state = walkBroken
			return n
		}
		w.word = w.word[1:]
		n++
	}
	return n
}
