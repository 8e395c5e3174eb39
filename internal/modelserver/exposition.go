package modelserver

import (
	"bytes"
	"strconv"
)

// sample is one line of the Prometheus text format: name{labels} value. A
// timestamp is not looked at.
type sample struct {
	name   []byte
	labels []byte // between the braces, as written
	value  float64
}

// parseSample returns the sample of a line. Lines that are empty, comments or
// malformed have none.
func parseSample(line []byte) (s sample, ok bool) {
	line = bytes.TrimLeft(line, " \t")
	end := bytes.IndexAny(line, "{ \t")
	if end <= 0 || line[0] == '#' {
		return sample{}, false
	}
	s.name = line[:end]
	rest := bytes.TrimLeft(line[end:], " \t")
	if len(rest) > 0 && rest[0] == '{' {
		length := labelsEnd(rest[1:])
		if length < 0 {
			return sample{}, false
		}
		s.labels = rest[1 : 1+length]
		rest = bytes.TrimLeft(rest[length+2:], " \t")
	}
	if end := bytes.IndexAny(rest, " \t\r"); end >= 0 {
		rest = rest[:end]
	}
	v, err := strconv.ParseFloat(string(rest), 64)
	s.value = v
	return s, err == nil
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
	b := s.labels
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
