package llm

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// Eight bytes are looked at as one word; eachByte repeats a byte in all eight
// lanes by multiplication and topBits holds the high bit of every lane.
const (
	eachByte = 0x0101010101010101
	topBits  = 0x8080808080808080
)

// plainRun returns how many bytes at the start of b may stand in a JSON string
// as they are: everything but the quote, the backslash and control characters.
// nonASCII is false only if all of them are ASCII.
//
// The word test is the subtraction trick: for lanes below 0x80, lane-0x20
// borrows exactly if the lane is a control character, and (lane^q)-1 exactly
// if it equals q. A borrow can spoil only lanes above one that hit, so the
// lowest hit is always right, and only that one is used.
func plainRun(b []byte) (n int, nonASCII bool) {
	var high uint64
	for len(b)-n >= 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		hit := ((w - ' '*eachByte) | ((w ^ '"'*eachByte) - eachByte) | ((w ^ '\\'*eachByte) - eachByte)) &^ w & topBits
		if hit != 0 {
			lane := bits.TrailingZeros64(hit) &^ 7
			high |= w & (1<<lane - 1)
			return n + lane>>3, high&topBits != 0
		}
		high |= w
		n += 8
	}
	for n < len(b) {
		c := b[n]
		if c < ' ' || c == '"' || c == '\\' {
			break
		}
		high |= uint64(c)
		n++
	}
	return n, high&topBits != 0
}

// lineLength returns the number of bytes before the first CR or LF in b, or
// len(b) when there is none. One pass for both, so that a stream of nothing
// but CRs costs no more than any other.
func lineLength(b []byte) int {
	n := 0
	for len(b)-n >= 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		hit := (((w ^ '\n'*eachByte) - eachByte) | ((w ^ '\r'*eachByte) - eachByte)) &^ w & topBits
		if hit != 0 {
			return n + bits.TrailingZeros64(hit)>>3
		}
		n += 8
	}
	for n < len(b) && b[n] != '\n' && b[n] != '\r' {
		n++
	}
	return n
}

// isSpace reports whether c is white space between JSON tokens (RFC 8259 §2).
func isSpace(c byte) bool {
	return c == ' ' || c == '\n' || c == '\r' || c == '\t'
}

// isDigit reports whether c is an ASCII digit.
func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// hexDigit returns the value of one hexadecimal digit.
func hexDigit(c byte) (v rune, ok bool) {
	switch {
	case isDigit(c):
		return rune(c - '0'), true
	case 'a' <= c && c <= 'f':
		return rune(c-'a') + 10, true
	case 'A' <= c && c <= 'F':
		return rune(c-'A') + 10, true
	}
	return 0, false
}

// shortEscape returns the byte that a two-character escape stands for, given
// the character after the backslash.
func shortEscape(c byte) (b byte, ok bool) {
	switch c {
	case '"', '\\', '/':
		return c, true
	case 'b':
		return '\b', true
	case 'f':
		return '\f', true
	case 'n':
		return '\n', true
	case 'r':
		return '\r', true
	case 't':
		return '\t', true
	}
	return 0, false
}

// appendUnescaped appends to dst the text that raw, the inside of a JSON
// string already known to be well formed, stands for. ok is false if raw
// escapes half of a surrogate pair: JSON allows that (RFC 8259 §8.2), but no
// text corresponds to it and every parser invents its own.
func appendUnescaped(dst, raw []byte) (text []byte, ok bool) {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			i++
			continue
		}
		if c, short := shortEscape(raw[i+1]); short {
			dst = append(dst, c)
			i += 2
			continue
		}
		r := fourHex(raw[i+2:])
		i += 6
		if utf16.IsSurrogate(r) {
			if len(raw)-i < 6 || raw[i] != '\\' || raw[i+1] != 'u' {
				return dst, false
			}
			if r = utf16.DecodeRune(r, fourHex(raw[i+2:])); r == utf8.RuneError {
				return dst, false
			}
			i += 6
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, true
}

// fourHex returns the value of the four hexadecimal digits at the start of b,
// which are known to be there.
func fourHex(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		v, _ := hexDigit(c)
		r = r<<4 | v
	}
	return r
}

// appendQuoted appends s to dst as a JSON string. Bytes that are not UTF-8
// become U+FFFD, so the result is valid JSON whatever s holds.
func appendQuoted(dst []byte, s string) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, '\\', 'n')
		case c < ' ' || c == 0x7f:
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}
