package llm

// jsonText finds out whether a text, which arrives in pieces cut anywhere, is one
// JSON value, with nothing but white space around it. It keeps no more of it than
// the walker does.
type jsonText struct {
	doc    walker
	object bool // the value is an object
}

// reset makes j ready for another text.
func (j *jsonText) reset() {
	j.doc.reset()
	j.object = false
}

// write reads on in the text.
func (j *jsonText) write(p []byte) {
	for len(p) > 0 {
		n, t := j.doc.next(p)
		p = p[n:]
		if t == tokenOpen && j.doc.depth == 1 {
			j.object = j.doc.object
		}
	}
}

// valid reports whether the text ended with what was written so far would be one
// JSON value.
func (j *jsonText) valid() bool {
	d := &j.doc
	return d.state == walkDone || d.state == walkNumber && d.depth == 0 && d.number.complete()
}

// validObject reports the same of an object.
func (j *jsonText) validObject() bool { return j.object && j.doc.state == walkDone }
