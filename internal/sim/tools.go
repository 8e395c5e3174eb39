package sim

import (
	"encoding/json"
	"slices"
	"strconv"
)

// tool is a function that a request offers, in the nested form of the chat API or
// the flat one of the Responses API. Tools of other kinds have no name here.
type tool struct {
	Name       string          `json:"name"`
	Parameters json.RawMessage `json:"parameters"`
	Function   *tool           `json:"function"`
}

// maxTools bounds what is read of a list of tools.
const maxTools = 128

// readTools reads the functions of a list. What is no function is left out.
func readTools(raw json.RawMessage) []tool {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return nil
	}
	var out []tool
	for _, one := range list[:min(len(list), maxTools)] {
		var t tool
		if json.Unmarshal(one, &t) != nil {
			continue
		}
		if t.Function != nil {
			t = *t.Function
		}
		if t.Name != "" {
			out = append(out, t)
		}
	}
	return out
}

// toolChoice is tool_choice: a word, or a function by name in either form.
type toolChoice struct {
	word, name string
}

func (c *toolChoice) UnmarshalJSON(b []byte) error {
	if json.Unmarshal(b, &c.word) == nil {
		return nil
	}
	var t tool
	if err := json.Unmarshal(b, &t); err != nil {
		return err
	}
	if t.Function != nil {
		t = *t.Function
	}
	c.word, c.name = "", t.Name
	return nil
}

// toolUse is what a request says about tools.
type toolUse struct {
	tools    []tool
	choice   toolChoice
	answered bool // the last message is a tool's answer
}

func (u toolUse) check() *apiError {
	forced := u.choice.word == "required" || u.choice.name != ""
	switch {
	case forced && len(u.tools) == 0:
		return badRequest("tool_choice", "tool_choice asks for a tool, and tools offers none")
	case u.choice.name != "" && !slices.ContainsFunc(u.tools, func(t tool) bool { return t.Name == u.choice.name }):
		return badRequest("tool_choice", "tool_choice names %q, which is not in tools", u.choice.name)
	case u.choice.name == "" && !slices.Contains([]string{"", "none", "auto", "required"}, u.choice.word):
		return badRequest("tool_choice", "tool_choice is %q: want none, auto, required or a function", u.choice.word)
	}
	return nil
}

// callShare is of how many questions one is answered by a tool call, when the
// model may choose.
const callShare = 4

// pick returns the tool that an answer calls, nil for an answer in words.
func (u toolUse) pick(hash uint64, q quality) *tool {
	if len(u.tools) == 0 || u.choice.word == "none" {
		return nil
	}
	switch {
	case q == qualityInvalidToolCall:
	case q != qualityGood:
		return nil // the fault is in the words
	case u.choice.name != "":
	case u.choice.word == "required":
	case u.answered || hash%callShare != 0:
		return nil
	}
	if i := slices.IndexFunc(u.tools, func(t tool) bool { return t.Name == u.choice.name }); i >= 0 {
		return &u.tools[i]
	}
	return &u.tools[hash>>8%uint64(len(u.tools))]
}

// call makes the name and the arguments of a call. A bad one names a tool that
// is not offered, or breaks off its arguments, by turns.
func (t *tool) call(question string, hash uint64, q quality) (name, arguments string) {
	b, _ := json.Marshal(sampleOf(t.Parameters, question, 0)) // strings, numbers and the like always marshal
	name, arguments = t.Name, string(b)
	if q != qualityInvalidToolCall {
		return name, arguments
	}
	if hash>>16%2 == 0 {
		return name + "_or_so", arguments
	}
	return name, `{"` + name + `": [`
}

// schema is what is read of a JSON schema.
type schema struct {
	Type       any                        `json:"type"`
	Enum       []any                      `json:"enum"`
	Properties map[string]json.RawMessage `json:"properties"`
}

// maxSampleDepth is how deep a schema is followed.
const maxSampleDepth = 4

// sampleOf makes a value for a schema, so that arguments look like what was asked
// for. An unknown schema gives an object at the top, and a text below.
func sampleOf(raw json.RawMessage, text string, depth int) any {
	var s schema
	_ = json.Unmarshal(raw, &s) // what cannot be read stays unknown
	if len(s.Enum) > 0 && depth > 0 {
		return s.Enum[0]
	}
	switch {
	case depth == 0 || s.Type == "object":
		object := map[string]any{}
		if depth < maxSampleDepth {
			for name, property := range s.Properties {
				object[name] = sampleOf(property, text, depth+1)
			}
		}
		return object
	case s.Type == "array":
		return []any{}
	case s.Type == "integer":
		return len(text)
	case s.Type == "number":
		return float64(len(text)) / 2
	case s.Type == "boolean":
		return len(text)%2 == 0
	case s.Type == "null":
		return nil
	}
	return excerpt(text)
}

// callID is the identifier of the call that a choice makes.
func (j *job) callID(choice int) string {
	return "call_" + strconv.FormatUint(hashString(uint64(choice), j.id), 16)
}
