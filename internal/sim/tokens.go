package sim

import "unicode/utf8"

// A stand-in for a tokenizer: every four bytes of text are a token, extended to
// the end of the character they stop in (at most three bytes more). English
// text comes to about as many tokens as with a real vocabulary, equal prefixes
// give equal tokens, and the same rule cuts prompts, answers and /tokenize, so
// counts agree everywhere.

const bytesPerToken = 4

// tokenLen is the length in bytes of the first token of s, which is not empty.
func tokenLen(s string) int {
	if len(s) <= bytesPerToken {
		return len(s)
	}
	n := bytesPerToken
	for n < len(s) && n < bytesPerToken+utf8.UTFMax-1 && !utf8.RuneStart(s[n]) {
		n++
	}
	return n
}

// countTokens is the number of tokens of s.
func countTokens(s string) int {
	n := 0
	for s != "" {
		s = s[tokenLen(s):]
		n++
	}
	return n
}

// cutTokens splits s after its first n tokens.
func cutTokens(s string, n int) (head, rest string) {
	at := 0
	for ; n > 0 && at < len(s); n-- {
		at += tokenLen(s[at:])
	}
	return s[:at], s[at:]
}

// tokenize appends the token numbers of s. A token of up to four bytes is those
// bytes; a longer one is a mix of them.
func tokenize(dst []uint32, s string) []uint32 {
	for s != "" {
		n := tokenLen(s)
		var id uint32
		for i := range n {
			id = id<<8 | id>>24 // a rotation, so that no byte is lost
			id ^= uint32(s[i])
		}
		if n > bytesPerToken {
			id = id*0x9e3779b1 + uint32(n)
		}
		dst, s = append(dst, id), s[n:]
	}
	return dst
}

// blockHashes names every full block of tokens by everything before and in it,
// starting from seed. Two equal names mean equal prefixes, up to the odds of a
// 64-bit collision.
func blockHashes(tokens []uint32, size int, seed uint64) []uint64 {
	names := make([]uint64, 0, len(tokens)/size)
	h := seed
	for i, t := range tokens {
		h = mix(h ^ uint64(t))
		if (i+1)%size == 0 {
			names = append(names, h|1) // never zero: that is the anonymous block
		}
	}
	return names
}

// mix is a bijective 64-bit scramble (a multiply between two xor-shifts).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	return x ^ x>>31
}

// hashString folds s into seed.
func hashString(seed uint64, s string) uint64 {
	h := mix(seed ^ uint64(len(s)))
	for i := range len(s) {
		h = mix(h ^ uint64(s[i]))
	}
	return h
}
