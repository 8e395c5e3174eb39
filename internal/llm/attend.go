package llm

// This file is what the Meter tells its judge: which text is the answer's and
// where in the answer it stands. Paths are those of the APIs:
//
//	choices[].text
//	choices[].{delta,message}.content          a string, or parts with text
//	choices[].{delta,message}.tool_calls[].function.{name,arguments}
//	[response.]output[].content[].text
//	[response.]output[].{name,arguments}
//	content[].text and delta.text              Anthropic's
//
// A stream of the Responses API repeats the whole answer in its last event, in the
// same form as an answer that is not streamed, and is judged by that.

// attend decides what becomes of the value whose key, l, was just read.
func (m *Meter) attend(l label) {
	j := &m.judge
	switch l {
	case labelContent, labelText, labelThought:
		j.ear = m.textEar(l)
	case labelArguments:
		j.ear = earNone
		switch {
		case m.inCall(7) && m.doc.at(6) == labelFunction:
			j.ear = earArguments
		case m.inItem():
			j.ear = earItem
		}
	case labelDelta:
		if m.doc.depth != 1 || !m.stream {
			return
		}
		j.ear = earDelta
	case labelName:
		if m.inCall(7) && m.doc.at(6) == labelFunction || m.inItem() {
			m.doc.keep = maxToolName
		}
		return
	case labelIndex:
		if m.doc.depth == 3 && m.doc.at(1) == labelChoices || m.inCall(6) {
			m.doc.keep = maxIndexDigits
		}
		return
	case labelOutput:
		if m.doc.depth == m.root() {
			j.output.reset()
		}
		return
	default:
		return
	}
	m.doc.listen = j.ear != earNone
}

const (
	maxToolName    = 256 // APIs allow 64
	maxIndexDigits = 9
)

// textEar tells what the text under l would be.
func (m *Meter) textEar(l label) ear {
	d := m.doc.depth
	answer := earAnswer
	if l == labelThought {
		answer = earThought
	}
	switch m.doc.at(1) {
	case labelChoices:
		part := d == 6 && m.doc.at(4) == labelContent && l == labelText
		switch w := m.doc.at(3); {
		case d == 3 && l == labelText:
			return answer
		case (d == 4 && l != labelText || part) && (w == labelDelta || w == labelMessage):
			return answer
		}
	case labelDelta:
		if d == 2 {
			return answer
		}
	case labelContent:
		if d == 3 {
			return answer
		}
	case labelOutput, labelResponse:
		r := m.root()
		if d == r+4 && m.doc.at(r) == labelOutput && m.doc.at(r+2) == labelContent && l == labelText {
			return earPart
		}
	}
	return earNone
}

// inCall reports whether the document stands at depth d in a tool call of the
// chat API.
func (m *Meter) inCall(d int) bool {
	return m.doc.depth == d && m.doc.at(4) == labelCalls && m.doc.at(1) == labelChoices
}

// inItem reports whether it stands in an item of the Responses API's output.
func (m *Meter) inItem() bool {
	r := m.root()
	return m.doc.depth == r+2 && m.doc.at(r) == labelOutput
}

// enter notes the start of a list or an object.
func (m *Meter) enter() {
	j, d := &m.judge, m.doc.depth
	switch m.doc.at(1) {
	case labelChoices:
		switch {
		case d == 2:
			j.place = -1
		case d == 3:
			j.place++
			j.choice, j.spoke = j.place, false
		case d == 5 && m.inCall(5):
			j.callPlace = -1
			if m.doc.object { // the older function_call, which is no list
				j.excuse()
			}
		case d == 6 && m.inCall(6):
			j.callPlace++
			j.call, j.called = j.callPlace, false
			j.excuse()
		}
	case labelContent, labelDelta: // Anthropic's list, or the end of its stream
		if d == 2 && m.doc.object == (m.doc.at(1) == labelDelta) {
			j.answers |= 1
		}
	case labelOutput, labelResponse:
		if r := m.root(); m.doc.at(r) == labelOutput {
			j.choice = 0 // there is one answer
			j.output.enter(d - r)
			j.answers |= 1
		}
	}
}

// leave notes the end of a list or an object.
func (m *Meter) leave() {
	j, d := &m.judge, m.doc.depth
	switch m.doc.at(1) {
	case labelChoices:
		if d == 2 {
			j.answers |= j.bit()
		}
	case labelOutput, labelResponse:
		if r := m.root(); m.doc.at(r) == labelOutput {
			j.leaveOutput(d-r, m.doc.at(r+2) == labelContent)
		}
	}
}

// readIndex takes over the index of a choice or of a tool call.
func (m *Meter) readIndex() {
	switch {
	case m.doc.cut:
	case m.doc.depth == 3:
		m.judge.indexed(m.doc.text)
	case m.doc.depth == 6:
		m.judge.callIndexed(m.doc.text)
	}
}

// judgeText takes over a string that is not empty, but for what was heard of it.
func (m *Meter) judgeText() {
	j, l, d := &m.judge, m.doc.here(), m.doc.depth
	switch l {
	case labelName:
		switch {
		case !m.doc.kept:
		case m.inItem():
			j.output.call.name(j.tools, m.doc.text, m.doc.cut)
		default:
			j.nameCall(m.doc.text, m.doc.cut)
		}
	case labelType:
		m.judgeType(m.doc.text)
	case labelRefusal:
		if first := m.doc.at(1); first == labelChoices {
			j.excuse()
		} else if first == labelOutput || first == labelResponse {
			j.wrote, j.excused = j.wrote|1, j.excused|1
		}
	case 0:
		// Engines keep inventing names for what they write. In a message there are
		// only parts and audio.
		in := m.doc.at(3)
		if m.doc.at(1) == labelChoices && (in == labelDelta && d > 3 || in == labelMessage && d > 4) ||
			m.doc.at(1) == labelDelta && d == 2 {
			j.wrote |= j.bit()
		}
	}
}

// judgeType takes over what kind of thing an object is.
func (m *Meter) judgeType(text []byte) {
	j, d := &m.judge, m.doc.depth
	switch first := m.doc.at(1); first {
	case labelBlock, labelContent: // Anthropic's
		if string(text) == "tool_use" {
			j.wrote, j.excused = j.wrote|1, j.excused|1
		}
	case labelOutput, labelResponse:
		if r := m.root(); m.doc.at(r) == labelOutput {
			j.output.typed(d-r, text)
		}
	}
}
