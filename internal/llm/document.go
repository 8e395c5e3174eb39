package llm

import "unicode/utf8"

// MaxDepth is how deep lists and objects may be nested in a request body,
// counting the body's own object as 1. Parsers behind the gateway recurse;
// Python's, for one, gives up with a server error near 1000.
const MaxDepth = 512

// nesting remembers for each open depth, 1 to MaxDepth, whether it is an
// object (bit set) or a list.
type nesting [MaxDepth / 64]uint64

func (n *nesting) set(depth int, object bool) {
	word, bit := (depth-1)/64, uint64(1)<<((depth-1)%64)
	if object {
		n[word] |= bit
	} else {
		n[word] &^= bit
	}
}

func (n *nesting) object(depth int) bool {
	return n[(depth-1)/64]&(1<<((depth-1)%64)) != 0
}

// The functions below check one construct of RFC 8259 that starts at b[i] and
// return the offset after it. With a fault they return the offset to blame.

// skipSpace returns the offset of the first byte at or after i that is not
// white space, or len(b).
func skipSpace(b []byte, i int) int {
	for i < len(b) && b[i] <= ' ' && isSpace(b[i]) {
		i++
	}
	return i
}

// skipValue checks any value; depth is the number of containers around it.
func skipValue(b []byte, i, depth int) (int, fault) {
	if i == len(b) {
		return i, faultEnd
	}
	switch b[i] {
	case '"':
		end, _, f := skipString(b, i)
		return end, f
	case '{', '[':
		return skipContainer(b, i, depth)
	}
	return skipScalar(b, i)
}

// skipContainer checks a list or an object and all it holds. It loops where a
// parser would recurse, so a hostile body cannot grow the goroutine's stack.
// Each turn of the loop starts at the first byte of a value.
func skipContainer(b []byte, i, depth int) (int, fault) {
	var open nesting
	floor, inList := depth, false
	for {
		var f fault
		switch {
		case i == len(b):
			return i, faultEnd
		case b[i] == '"':
			i, _, f = skipString(b, i)
		case b[i] == '{' || b[i] == '[':
			if depth == MaxDepth {
				return i, faultDepth
			}
			depth++
			object := b[i] == '{'
			open.set(depth, object)
			inList = !object
			i = skipSpace(b, i+1)
			if i == len(b) {
				return i, faultEnd
			}
			if b[i] != closing(object) {
				if object {
					if i, f = skipKey(b, i); f != faultNone {
						return i, f
					}
				}
				continue
			}
			depth--
			i++
			inList = false // which it may be; skipAfter finds out
		default:
			i, f = skipScalar(b, i)
		}
		if f != faultNone {
			return i, f
		}
		if inList && i < len(b) && b[i] == ',' {
			i = skipSpace(b, i+1) // the short way through lists of tokens
			continue
		}
		if i, depth, f = skipAfter(b, i, depth, floor, &open); f != faultNone || depth == floor {
			return i, f
		}
		inList = !open.object(depth)
	}
}

// skipAfter checks what follows a value: the ends of all containers that close
// here, down to floor, or else the way to the first byte of the next value.
func skipAfter(b []byte, i, depth, floor int, open *nesting) (next, nextDepth int, f fault) {
	for depth > floor {
		i = skipSpace(b, i)
		if i == len(b) {
			return i, depth, faultEnd
		}
		object := open.object(depth)
		switch b[i] {
		case ',':
			i = skipSpace(b, i+1)
			if object {
				i, f = skipKey(b, i)
			}
			return i, depth, f
		case closing(object):
			depth--
			i++
		default:
			if object {
				return i, depth, faultMember
			}
			return i, depth, faultElement
		}
	}
	return i, depth, faultNone
}

// closing returns the byte that ends an object or a list.
func closing(object bool) byte {
	if object {
		return '}'
	}
	return ']'
}

// skipKey checks a key, its colon and the white space around that, and returns
// the offset of the value.
func skipKey(b []byte, i int) (int, fault) {
	if i == len(b) {
		return i, faultEnd
	}
	if b[i] != '"' {
		return i, faultKey
	}
	i, _, f := skipString(b, i)
	if f != faultNone {
		return i, f
	}
	return skipColon(b, i)
}

// skipColon checks the colon after a key, with white space on either side.
func skipColon(b []byte, i int) (int, fault) {
	i = skipSpace(b, i)
	if i == len(b) {
		return i, faultEnd
	}
	if b[i] != ':' {
		return i, faultColon
	}
	return skipSpace(b, i+1), faultNone
}

// skipString checks the string whose opening quote is b[i]. escaped tells
// whether it holds an escape, so that its text is not its bytes.
func skipString(b []byte, i int) (end int, escaped bool, f fault) {
	i++
	start, nonASCII := i, false
	for {
		n, high := plainRun(b[i:])
		i += n
		nonASCII = nonASCII || high
		switch {
		case i == len(b):
			return i, escaped, faultEnd
		case b[i] == '"':
			// No character of more than one byte contains a quote or a
			// backslash, so the string can be checked as one piece.
			if nonASCII && !utf8.Valid(b[start:i]) {
				return start + validPrefix(b[start:i]), escaped, faultUTF8
			}
			return i + 1, escaped, faultNone
		case b[i] == '\\':
			escaped = true
			if i, f = skipEscape(b, i); f != faultNone {
				return i, escaped, f
			}
		default:
			return i, escaped, faultControl
		}
	}
}

// validPrefix returns the offset of the first byte in b that is not UTF-8.
func validPrefix(b []byte) int {
	i := 0
	for i < len(b) {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		i += n
	}
	return i
}

// skipEscape checks the escape whose backslash is b[i].
func skipEscape(b []byte, i int) (int, fault) {
	if i+1 == len(b) {
		return i, faultEnd
	}
	if b[i+1] != 'u' {
		if _, ok := shortEscape(b[i+1]); !ok {
			return i, faultEscape
		}
		return i + 2, faultNone
	}
	if len(b)-i < 6 {
		return i, faultEnd
	}
	for _, c := range b[i+2 : i+6] {
		if _, ok := hexDigit(c); !ok {
			return i, faultEscape
		}
	}
	return i + 6, faultNone
}

// skipScalar checks a number, true, false or null.
func skipScalar(b []byte, i int) (int, fault) {
	switch c := b[i]; {
	case c == '-' || isDigit(c):
		return skipNumber(b, i)
	case c == 't':
		return skipWord(b, i, "true")
	case c == 'f':
		return skipWord(b, i, "false")
	case c == 'n':
		return skipWord(b, i, "null")
	case c == '+' || c == '.':
		return i, faultNumber
	case 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z':
		return i, faultLiteral
	}
	return i, faultValue
}

// skipWord checks one of the three words of JSON.
func skipWord(b []byte, i int, word string) (int, fault) {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return i, faultLiteral
	}
	return i + len(word), faultNone
}

// skipNumber checks a number: sign, integer part without leading zeros,
// fraction, exponent. What may follow it is its container's matter.
func skipNumber(b []byte, i int) (int, fault) {
	start := i
	if b[i] == '-' {
		i++
	}
	if i < len(b) && b[i] == '0' {
		i++
		if i < len(b) && isDigit(b[i]) {
			return start, faultNumber
		}
	} else if end := skipDigits(b, i); end > i {
		i = end
	} else {
		return start, faultNumber
	}
	if i < len(b) && b[i] == '.' {
		end := skipDigits(b, i+1)
		if end == i+1 {
			return start, faultNumber
		}
		i = end
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		end := skipDigits(b, i)
		if end == i {
			return start, faultNumber
		}
		i = end
	}
	return i, faultNone
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && isDigit(b[i]) {
		i++
	}
	return i
}
