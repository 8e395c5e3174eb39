package llm

// MaxJudged is how many choices of a response, and how many tool calls, a [Meter]
// judges. Those beyond are forwarded unjudged.
const MaxJudged = 8

// judge weighs what a response says: see [Quality]. The Meter tells it where the
// document stands and hands it the text. Its memory is a fixed amount for each
// choice and for tool calls, made when first needed and used again.
type judge struct {
	wants bool   // the request asked for JSON
	asked bool   // the request was read
	tools []byte // what it offered, raw JSON

	// Choices are told apart by their index, or, before that is known, by their
	// place in the list; so are tool calls.
	place, choice   int
	callPlace, call int
	spoke           bool // something was put down to choice in this document
	called          bool // or to call
	lost            bool // and the index was another: text is mixed up, and nothing can be said

	answers  uint8 // of each choice a bit: it is there
	wrote    uint8 // it says something or calls a tool
	excused  uint8 // it calls a tool or refuses, so that it need not be JSON
	voices   [MaxJudged]*voice
	calls    *[MaxJudged]toolCall
	numCalls int

	output output // of the Responses API

	ear  ear  // what the text being listened to is
	wind bool // an event's bare delta has text
	mute bool // and it is no answer, but reasoning
}

// ear is what a text is listened to for.
type ear uint8

const (
	earNone ear = iota
	earAnswer
	earThought
	earArguments
	// Of the Responses API, where only the end of the object tells what it was:
	earDelta
	earPart
	earItem // arguments of a call
)

// voice is what one choice says.
type voice struct {
	used bool // by this response
	text bool // the answer is not empty
	loop repetition
	json jsonText
}

// toolCall is one call of a function.
type toolCall struct {
	choice, index int
	named, known  bool // it has a name, and that is offered
	arguments     jsonText
}

// reset makes j ready for another response; its memory stays.
func (j *judge) reset() {
	for _, v := range j.voices {
		if v != nil {
			v.used = false
		}
	}
	j.output.reset()
	*j = judge{voices: j.voices, calls: j.calls, output: j.output}
}

// voice returns the voice of the current choice, nil for one too many.
func (j *judge) voice() *voice {
	if j.choice >= MaxJudged {
		return nil
	}
	v := j.voices[j.choice]
	if v == nil {
		v = &voice{}
		j.voices[j.choice] = v
	}
	if !v.used {
		v.used, v.text = true, false
		v.loop.reset()
		v.json.reset()
	}
	return v
}

// bit is the current choice's in the sets of choices, 0 for one too many.
func (j *judge) bit() uint8 { return 1 << j.choice }

// toolCall returns the current call, nil for one too many.
func (j *judge) toolCall() *toolCall {
	if j.calls == nil {
		j.calls = new([MaxJudged]toolCall)
	}
	for i := range j.calls[:j.numCalls] {
		if c := &j.calls[i]; c.choice == j.choice && c.index == j.call {
			return c
		}
	}
	if j.numCalls == MaxJudged {
		return nil
	}
	c := &j.calls[j.numCalls]
	j.numCalls++
	c.begin(j.choice, j.call)
	return c
}

func (c *toolCall) begin(choice, index int) {
	c.choice, c.index, c.named, c.known = choice, index, false, false
	c.arguments.reset()
}

// name takes over the call's name and compares it with the tools offered. Later
// deltas may repeat it.
func (c *toolCall) name(tools, name []byte, cut bool) {
	if !c.named {
		c.named, c.known = true, !cut && offers(tools, name)
	}
}

// valid reports whether the call can be carried out.
func (c *toolCall) valid() bool { return c.known && c.arguments.validObject() }

// hear takes over some text.
func (j *judge) hear(p []byte) {
	switch j.ear {
	case earAnswer, earThought:
		j.hearAnswer(p)
	case earArguments:
		j.spoke, j.called = true, true
		if c := j.toolCall(); c != nil {
			c.arguments.write(p)
		}
	case earDelta:
		j.wind = j.wind || !blank(p)
	case earPart:
		j.hearPart(p)
	case earItem:
		j.output.call.arguments.write(p)
	}
}

// hearAnswer takes over some text of the current choice, or of its reasoning.
func (j *judge) hearAnswer(p []byte) {
	j.spoke = true
	v := j.voice()
	if v == nil {
		return
	}
	v.loop.write(p)
	if j.ear == earThought {
		return
	}
	v.text = true
	if j.wrote&j.bit() == 0 && !blank(p) {
		j.wrote |= j.bit()
	}
	if j.wants {
		v.json.write(p)
	}
}

// nameCall takes over the name of the current call; cut if it is too long to be
// one that is offered.
func (j *judge) nameCall(name []byte, cut bool) {
	j.spoke, j.called = true, true
	if c := j.toolCall(); c != nil {
		c.name(j.tools, name, cut)
	}
}

// excuse notes that the current choice calls a tool, or refuses to answer.
func (j *judge) excuse() {
	j.wrote, j.excused, j.spoke = j.wrote|j.bit(), j.excused|j.bit(), true
}

// endEvent closes the books of one event of a stream.
func (j *judge) endEvent() {
	if j.wind {
		j.answers |= 1
		if !j.mute {
			j.wrote |= 1
		}
	}
	j.wind, j.mute = false, false
}

// quality sums up; ended tells whether the answer ended well.
func (j *judge) quality(ended bool) (q Quality) {
	if j.lost {
		return q
	}
	for _, v := range j.voices {
		q.Looping = q.Looping || v != nil && v.used && v.loop.found
	}
	if !ended {
		return q
	}
	q.Empty = j.answers&^j.wrote != 0
	if j.wants {
		q.WantedJSON, q.InvalidJSON = j.json()
	}
	if !j.asked {
		return q
	}
	q.ToolCalls, q.InvalidToolCalls = j.output.calls, j.output.badCalls
	for i := range j.numCalls {
		q.ToolCalls++
		if !j.calls[i].valid() {
			q.InvalidToolCalls++
		}
	}
	return q
}

// json tells whether there is an answer that should be JSON, and whether one is not.
func (j *judge) json() (judged, invalid bool) {
	judged, invalid = j.output.texts > 0, j.output.badTexts > 0
	for i, v := range j.voices {
		bit := uint8(1) << i
		switch {
		case j.answers&bit == 0:
		case j.wrote&bit == 0:
			judged, invalid = true, true
		case j.excused&bit == 0 && v != nil && v.used && v.text:
			judged, invalid = true, invalid || !v.json.valid()
		}
	}
	return judged, invalid
}

// blank reports whether p is nothing but white space.
func blank(p []byte) bool {
	for _, c := range p {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

// indexed takes over the index of the current choice.
func (j *judge) indexed(text []byte) {
	if n, ok := parseCount(text); ok && n != j.choice {
		j.lost = j.lost || j.spoke
		j.choice = n
	}
}

// callIndexed takes over the index of the current call.
func (j *judge) callIndexed(text []byte) {
	if n, ok := parseCount(text); ok && n != j.call {
		j.lost = j.lost || j.called
		j.call = n
	}
}
