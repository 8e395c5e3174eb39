package llm

import "strings"

// NameRestorer puts the client's model name back into a response whose request
// was rewritten: wherever the engine answered with the target's name, the
// client reads the one it asked for. A response whose bytes change has another
// length, so its Content-Length must go; an encoded (compressed) body passes
// as it is.
//
// It is no search for text. The body is followed as JSON, or as an event
// stream of JSON documents, whichever its first byte says, and only a value
// that equals the target, once its escapes are read, is replaced, and only
// under these keys: "model" of the document; "model" of its "response" (events
// of the Responses API) or "message" (Anthropic's message_start). Text that
// talks about the target, tool arguments and metadata stay as they are, and so
// does everything after the point where a document stops being JSON.
type NameRestorer struct {
	target string
	quoted []byte // the client's name as a JSON string

	form    bodyForm
	events  EventReader
	doc     walker
	held    []byte // the value read so far, from its opening quote, when it came in an earlier piece
	holding bool   // the walker is inside a value that may turn out to be the target
}

// bodyForm is what a body turns out to be.
type bodyForm uint8

const (
	formUnknown bodyForm = iota // nothing but white space so far
	formJSON
	formEvents
)

// NewNameRestorer returns a restorer for one response of an engine that was
// asked for target in place of name.
func NewNameRestorer(target, name string) *NameRestorer {
	return &NameRestorer{target: target, quoted: appendQuoted(nil, name)}
}

// Rewrite takes the next bytes of the body and appends to dst those that may
// be forwarded now. Held back are at most the bytes of one value that has
// equalled the start of the target so far.
func (n *NameRestorer) Rewrite(dst, p []byte) []byte {
	if n.form == formUnknown {
		var blank int
		blank, n.form = sniffForm(p)
		if n.form == formJSON {
			dst, p = append(dst, p[:blank]...), p[blank:]
		}
	}
	if n.form == formJSON {
		return n.walk(dst, p)
	}
	// White space of a body of unknown form is read as the start of a stream,
	// where it may matter.
	for len(p) > 0 {
		m, part := n.events.Next(p)
		if part == EventData {
			dst = n.walk(dst, p[:m])
		} else {
			dst = n.Flush(dst) // no string goes on in another line
			dst = append(dst, p[:m]...)
			n.frame(part)
		}
		p = p[m:]
	}
	return dst
}

// Flush appends to dst what was held back, unchanged. It is for the end of the
// body, where it will have been the start of a value that was never finished.
func (n *NameRestorer) Flush(dst []byte) []byte {
	dst = append(dst, n.held...)
	n.held, n.holding = n.held[:0], false
	return dst
}

// sniffForm tells a JSON object from an event stream by the first byte that is
// not white space or of a byte order mark. Other JSON values have no keys, so
// what they are taken for does not matter.
func sniffForm(p []byte) (blank int, form bodyForm) {
	for i, c := range p {
		switch {
		case c == '{':
			return i, formJSON
		case !isSpace(c) && strings.IndexByte(byteOrderMark, c) < 0:
			return i, formEvents
		}
	}
	return len(p), formUnknown
}

// frame follows the framing of events.
func (n *NameRestorer) frame(part EventPart) {
	switch part {
	case EventLine:
		for more := lineBreak[:]; len(more) > 0; {
			m, _ := n.doc.next(more)
			more = more[m:]
		}
	case EventEnd:
		n.doc.reset()
	}
}

// walk follows the next bytes of a document and appends to dst those that may
// go on. Bytes from done on are not decided yet.
func (n *NameRestorer) walk(dst, p []byte) []byte {
	done, i := 0, 0
	for i < len(p) {
		m, t := n.doc.next(p[i:])
		i += m
		switch t {
		case tokenKey:
			n.nameKey()
		case tokenText:
			dst = append(dst, p[done:i-1]...)
			done, n.holding = i-1, true
		case tokenString:
			if n.holding && n.isTarget() {
				dst = append(dst, n.quoted...)
				done, n.held = i, n.held[:0]
			}
			// Bytes held came in an earlier piece, so they go before all of p.
			dst = n.Flush(dst)
		}
	}
	if n.holding && n.mayBeTarget() {
		n.held = append(n.held, p[done:]...)
		return dst
	}
	return append(n.Flush(dst), p[done:]...)
}

// nameKey labels the key just read and has the value kept where a model's name
// is looked for.
func (n *NameRestorer) nameKey() {
	l := label(0)
	if !n.doc.cut {
		l = responseLabel(n.doc.text)
	}
	keep := 0
	if l == labelModel {
		wrap := n.doc.at(1)
		if n.doc.depth == 1 || n.doc.depth == 2 && (wrap == labelResponse || wrap == labelMessage) {
			keep = len(n.target)
		}
	}
	n.doc.name(l, keep)
}

// isTarget reports whether the value just read is the target.
func (n *NameRestorer) isTarget() bool {
	return !n.doc.cut && string(n.doc.text) == n.target
}

// mayBeTarget reports whether the value being read can still become the target.
func (n *NameRestorer) mayBeTarget() bool {
	text := n.doc.text
	return n.doc.state != walkBroken && !n.doc.cut &&
		len(text) <= len(n.target) && string(text) == n.target[:len(text)]
}
