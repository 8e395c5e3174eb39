package modelserver

import (
	"bytes"
	"math"
	"strconv"
)

// sample is one line of the Prometheus text format: name{labels} value, perhaps
// with a timestamp, which is not looked at. Most lines are of no interest, so
// what follows the name is taken apart only when asked for.
type sample struct {
	name []byte
	rest []byte // labels and value
}

// splitSample returns the sample of a line; its name is empty when the line is
// a comment or blank.
func splitSample(line []byte) sample {
	// Nearly every line has labels, right behind the name.
	end := bytes.IndexByte(line, '{')
	if end <= 0 || line[end-1] <= ' ' {
		end = bytes.IndexAny(line, "{ \t")
	}
	if end <= 0 || line[0] == '#' {
		return sample{}
	}
	return sample{name: line[:end], rest: line[end:]}
}

// value returns the sample's value, NaN when it has none.
func (s *sample) value() float64 {
	_, rest := s.split()
	if end := bytes.IndexAny(rest, " \t\r"); end >= 0 {
		rest = rest[:end]
	}
	v, err := strconv.ParseFloat(string(rest), 64)
	if err != nil {
		return math.NaN()
	}
	return v
}

// split returns the labels, without braces, and what follows them; nothing when
// the braces do not close.
func (s *sample) split() (labels, rest []byte) {
	rest = bytes.TrimLeft(s.rest, " \t")
	if len(rest) == 0 || rest[0] != '{' {
		return nil, rest
	}
	end := labelsEnd(rest[1:])
	if end < 0 {
		return nil, nil
	}
	return rest[1 : 1+end], bytes.TrimLeft(rest[end+2:], " \t")
}

// labelsEnd returns the offset of the brace that ends the labels b begins with,
// or -1.
func labelsEnd(b []byte) int {
	quoted := false
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case '}':
			if !quoted {
				return i
			}
		}
	}
	return -1
}

// label returns the value of the label called key, "" when there is none.
func (s *sample) label(key string) string {
	b, _ := s.split()
	for {
		b = bytes.TrimLeft(b, " \t,")
		name, rest, found := bytes.Cut(b, []byte{'='})
		rest = bytes.TrimLeft(rest, " \t")
		if !found || len(rest) == 0 || rest[0] != '"' {
			return ""
		}
		end := quoteEnd(rest[1:])
		if end < 0 {
			return ""
		}
		if string(bytes.TrimRight(name, " \t")) == key {
			return unescape(rest[1 : 1+end])
		}
		b = rest[end+2:]
	}
}

// quoteEnd returns the offset of the first quote that is not escaped, or -1.
func quoteEnd(b []byte) int {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// unescape undoes the three escapes of a label value.
func unescape(b []byte) string {
	if bytes.IndexByte(b, '\\') < 0 {
		return string(b)
	}
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c == '\\' && i+1 < len(b) {
			i++
			switch c = b[i]; c {
			case 'n':
				c = '\n'
			case '\\', '"':
			default:
				out = append(out, '\\')
			}
		}
		out = append(out, c)
	}
	return string(out)
}

// number returns the value of a label as a count, 0 when it is none.
func (s *sample) number(key string) int {
	n, err := strconv.Atoi(s.label(key))
	if err != nil {
		return 0
	}
	return count(float64(n))
}
