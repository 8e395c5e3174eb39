package llm

// EventPart says what the bytes are that [EventReader.Next] has just read.
type EventPart uint8

const (
	// EventFraming is anything but data: line ends, comments, other fields.
	EventFraming EventPart = iota
	// EventLine is framing that ends with the start of a data line. The data
	// of an event is that of its lines, joined by one LF.
	EventLine
	// EventData is a piece of the data of the line that began last.
	EventData
	// EventEnd is framing that ends with the blank line that completes an
	// event with at least one data line.
	EventEnd
)

// EventReader cuts a text/event-stream into the parts of its events, as the
// HTML standard §9.2.6 reads it: lines end with CR LF, LF or CR, a byte order
// mark may come first, one space after the colon is dropped, and an event that
// the stream does not complete is none. It takes the stream in pieces cut
// anywhere and keeps a few bytes of state, whatever the length of a line. The
// zero value is ready at the start of a stream.
//
// Only data is told apart. The name of an event is framing: the formats read
// here repeat it inside their data.
type EventReader struct {
	line  lineState
	seen  uint8 // bytes in name, or bytes of the byte order mark so far
	name  [len("data")]byte
	cr    bool // the last byte was a CR, whose LF may follow
	data  bool // the event has a data line
	begun bool // the event, or what will be one, has a byte
}

// lineState is where in a line the reader stands.
type lineState uint8

const (
	lineMark  lineState = iota // at the start of the stream, or in its byte order mark
	lineName                   // at the start of a line, or in its field's name
	lineSpace                  // after the colon of a data line
	lineData                   // in the data of a data line
	lineOther                  // in a line that is not data
)

// byteOrderMark is U+FEFF in UTF-8.
const byteOrderMark = "\uFEFF"

// Reset makes the reader ready for another stream.
func (r *EventReader) Reset() { *r = EventReader{} }

// AtBoundary reports whether the stream stands between two events, so that
// another one may be written there.
func (r *EventReader) AtBoundary() bool {
	return !r.begun && (r.line != lineMark || r.seen == 0)
}

// Next reads one part from the start of p, which is not empty, and returns its
// length, at least 1. The caller goes on with the rest.
func (r *EventReader) Next(p []byte) (n int, part EventPart) {
	for n < len(p) {
		if r.cr {
			r.cr = false
			if p[n] == '\n' {
				n++
				continue
			}
		}
		switch r.line {
		case lineMark:
			n += r.readMark(p[n:])
		case lineName:
			m, part := r.readName(p[n:])
			n += m
			if part != EventFraming {
				return n, part
			}
		case lineSpace:
			r.line = lineData
			if p[n] == ' ' {
				n++
			}
		case lineData:
			if c := p[n]; c == '\n' || c == '\r' {
				r.endLine(c)
				n++
				continue
			}
			if n == 0 {
				return lineLength(p), EventData
			}
			return n, EventFraming
		case lineOther:
			n += lineLength(p[n:])
			if n < len(p) {
				r.endLine(p[n])
				n++
			}
		}
	}
	return n, EventFraming
}

// readMark passes over a byte order mark. What only begins like one is the
// name of an unknown field.
func (r *EventReader) readMark(p []byte) (n int) {
	for n < len(p) && p[n] == byteOrderMark[r.seen] {
		n++
		if r.seen++; int(r.seen) == len(byteOrderMark) {
			r.line, r.seen = lineName, 0
			return n
		}
	}
	switch {
	case n == len(p):
	case r.seen == 0:
		r.line = lineName
	default:
		r.line, r.seen, r.begun = lineOther, 0, true
	}
	return n
}

// readName reads from a line up to the end of its field's name: the colon, or
// the end of the line.
func (r *EventReader) readName(p []byte) (n int, part EventPart) {
	const field = "data:"
	if r.seen == 0 && len(p) >= len(field) && string(p[:len(field)]) == field {
		return r.beginData(p, len(field))
	}
	for n < len(p) {
		c := p[n]
		n++
		switch {
		case c == ':' && string(r.name[:r.seen]) == "data":
			return r.beginData(p, n)
		case c == ':':
			r.line, r.begun = lineOther, true
			return n, EventFraming
		case c == '\n' || c == '\r':
			return n, r.endName(c)
		case int(r.seen) == len(r.name):
			r.line, r.begun = lineOther, true
			return n, EventFraming
		}
		r.name[r.seen] = c
		r.seen++
		r.begun = true
	}
	return n, EventFraming
}

// beginData notes that a data line's colon is the last of the n bytes read of
// p, and takes the space after it along.
func (r *EventReader) beginData(p []byte, n int) (int, EventPart) {
	r.line, r.data, r.begun = lineSpace, true, true
	if n < len(p) {
		r.line = lineData
		if p[n] == ' ' {
			n++
		}
	}
	return n, EventLine
}

// endName handles a line that ends before any colon: a blank line, which
// completes the event, or a field without a value.
func (r *EventReader) endName(c byte) EventPart {
	blank, data := r.seen == 0, string(r.name[:r.seen]) == "data"
	r.endLine(c)
	switch {
	case data:
		r.data = true
		return EventLine
	case blank:
		data = r.data
		r.data, r.begun = false, false
		if data {
			return EventEnd
		}
	}
	return EventFraming
}

// endLine puts the reader at the start of the next line; c ended this one.
func (r *EventReader) endLine(c byte) {
	r.line, r.seen, r.cr = lineName, 0, c == '\r'
}
