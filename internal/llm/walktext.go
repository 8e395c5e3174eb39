package llm

import (
	"unicode/utf16"
	"unicode/utf8"
)

// This file is the walker inside strings and the text it keeps.

// beginText starts to keep the text of a value, if it is wanted.
func (w *walker) beginText() {
	w.kept, w.cut, w.high, w.text = w.keep > 0, false, 0, w.text[:0]
	w.heard, w.listen = w.listen, false
}

// beginString starts a string value after its opening quote.
func (w *walker) beginString() token {
	w.beginText()
	w.state, w.isKey, w.some = walkString, false, false
	if w.kept {
		return tokenText
	}
	return tokenNone
}

// beginKey starts a key after its opening quote.
func (w *walker) beginKey() token {
	w.keep, w.listen = keyRoom, false
	w.beginText()
	w.state, w.isKey, w.some = walkString, true, false
	return tokenNone
}

// endString tells what the string just read was.
func (w *walker) endString() token {
	if w.high != 0 {
		w.spoil()
	}
	if w.isKey {
		w.keep = 0
		w.state = walkColon
		return tokenKey
	}
	w.endValue()
	return tokenString
}

// readString reads on in a string; done reports its closing quote. In one that is
// listened to it reads no further than to the end of a piece, but for the quote.
func (w *walker) readString(p []byte) (n int, done bool) {
	w.piece = nil
	for n < len(p) && len(w.piece) == 0 {
		switch w.state {
		case walkString:
			m, _ := plainRun(p[n:])
			w.add(p[n : n+m])
			n += m
			switch {
			case n < len(p) && p[n] == '"':
				return n + 1, true
			case n == len(p) || len(w.piece) > 0:
				return n, false
			}
			switch p[n] {
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

// wholeString reads the rest of a string that just began, closing quote
// included, if it is all there and has no escapes; else it reads nothing. It
// does nothing that readString would not, but most strings are such.
func (w *walker) wholeString(p []byte) (n int) {
	n, _ = plainRun(p)
	if n == len(p) || p[n] != '"' {
		return 0
	}
	w.add(p[:n])
	return n + 1
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
	w.room[0] = b
	w.add(w.room[:1])
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
			w.spoil()
		}
		w.high = 0
	}
	w.add(utf8.AppendRune(w.room[:0], r))
}

// add appends to the text being kept.
func (w *walker) add(b []byte) {
	if len(b) == 0 {
		return
	}
	w.some = true
	if w.high != 0 {
		w.spoil()
	}
	switch {
	case w.heard:
		w.piece = b
	case !w.kept || w.cut:
	case len(w.text)+len(b) > w.keep:
		w.spoil()
	default:
		w.text = append(w.text, b...)
	}
}

// spoil gives up the text being kept.
func (w *walker) spoil() {
	w.cut, w.high, w.text = true, 0, w.text[:0]
}
