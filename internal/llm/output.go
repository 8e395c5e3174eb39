package llm

import "bytes"

// output is the list of items that an answer of the Responses API consists of.
// What an item or a part of its content is, its "type" may say last, so verdicts
// wait for the end of each. Depths here count from the object that has the list.
type output struct {
	item kind // the current item
	part kind // the current part of it
	call toolCall
	text bool // the part is more than white space

	texts, badTexts int // parts with text of the answer; those that are not JSON
	calls, badCalls int
}

// kind is what an item or a part is.
type kind uint8

const (
	kindAnswer   kind = iota // output_text, or nothing that says otherwise
	kindFunction             // function_call
	kindCall                 // a call of another tool
	kindOther
)

// reset makes o ready for another list; of several the last one holds.
func (o *output) reset() {
	call := o.call // for its memory
	*o = output{call: call}
}

// enter notes the start of a list or an object.
func (o *output) enter(depth int) {
	switch depth {
	case 2:
		o.item = kindAnswer
		o.call.begin(0, 0)
	case 4:
		o.part, o.text = kindAnswer, false
	}
}

// typed takes over the type of the item or the part.
func (o *output) typed(depth int, text []byte) {
	k := kindOther
	switch {
	case string(text) == "output_text":
		k = kindAnswer
	case string(text) == "function_call":
		k = kindFunction
	case bytes.HasSuffix(text, []byte("_call")):
		k = kindCall
	}
	switch depth {
	case 2:
		o.item = k
	case 4:
		o.part = k
	}
}

// hearPart takes over some text of the current part.
func (j *judge) hearPart(p []byte) {
	v := j.voice()
	if v == nil {
		return
	}
	v.loop.write(p)
	j.output.text = j.output.text || !blank(p)
	if j.wants {
		v.json.write(p)
	}
}

// leaveOutput notes the end of a list or an object; content tells whether it
// stood in the content of an item.
func (j *judge) leaveOutput(depth int, content bool) {
	o := &j.output
	switch {
	case depth == 1 && (o.item == kindFunction || o.item == kindCall):
		j.wrote, j.excused = j.wrote|1, j.excused|1
		if o.item == kindFunction {
			o.calls++
			if !o.call.valid() {
				o.badCalls++
			}
		}
	case depth == 3 && content:
		j.endPart()
	}
}

// endPart judges the current part.
func (j *judge) endPart() {
	o, v := &j.output, j.voice()
	if v == nil {
		return
	}
	if o.part == kindAnswer && o.text {
		j.wrote |= j.bit()
		if j.wants {
			o.texts++
			if !v.json.valid() {
				o.badTexts++
			}
		}
	}
	v.json.reset()
}
