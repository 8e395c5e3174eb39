package file

import (
	"bytes"
	"unicode"
)

// chunk is the text of one document and where it stands in its file.
type chunk struct {
	text   []byte
	before int // lines of the file before the text
	line   int // line of the first content, counted from 1 in the file
}

// split cuts YAML into documents at lines that are "---" or start with "--- ", and
// after lines that are "...". Documents without content are left out. No block of
// a document can hold such a line: YAML ends the block there.
func split(data []byte) []chunk {
	data = bytes.TrimPrefix(data, []byte("\uFEFF"))
	var chunks []chunk
	start, startLine := 0, 0
	flush := func(end int) {
		if c := (chunk{text: data[start:end], before: startLine}); c.findContent() {
			chunks = append(chunks, c)
		}
	}
	line := 0
	for pos := 0; pos < len(data); line++ {
		end := pos + lineLength(data[pos:])
		switch l := bytes.TrimRight(data[pos:end], " \t\r\n"); {
		case isMarker(l, "---"):
			flush(pos)
			start, startLine = pos, line
		case isMarker(l, "..."):
			flush(pos)
			start, startLine = end, line+1
		}
		pos = end
	}
	flush(len(data))
	return chunks
}

// lineLength returns the length of data's first line with its end.
func lineLength(data []byte) int {
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		return i + 1
	}
	return len(data)
}

func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || rest[0] == ' ' || rest[0] == '\t')
}

// findContent sets the line of the first content and reports whether there is any
// beside markers, directives and comments.
func (c *chunk) findContent() bool {
	line := c.before
	for pos := 0; pos < len(c.text); {
		n := lineLength(c.text[pos:])
		l := c.text[pos : pos+n]
		pos += n
		line++
		if isMarker(bytes.TrimRight(l, " \t\r\n"), "---") {
			l = l[len("---"):]
		}
		l = bytes.TrimLeftFunc(l, unicode.IsSpace)
		if len(l) > 0 && l[0] != '#' && l[0] != '%' {
			c.line = line
			return true
		}
	}
	return false
}
