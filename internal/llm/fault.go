package llm

import "strconv"

// fault says what is wrong with a JSON document; faultNone is no fault. It is
// a small number rather than an error so that the checker allocates nothing
// before it knows that it must.
type fault uint8

const (
	faultNone fault = iota
	faultEmpty
	faultMark
	faultTop
	faultEnd
	faultValue
	faultKey
	faultColon
	faultMember
	faultElement
	faultNumber
	faultLiteral
	faultControl
	faultEscape
	faultUTF8
	faultDepth
	faultTrailing
)

// remedy says in one clause what stands at the faulty byte or is missing
// there, and what to do. It never quotes the document: those bytes may be a
// prompt.
func (f fault) remedy() string {
	switch f {
	case faultEmpty:
		return "the body is empty; send a JSON object"
	case faultMark:
		return "the body starts with a byte order mark; send UTF-8 without one"
	case faultTop:
		return "the body must be one JSON object"
	case faultEnd:
		return "the document ends too early; check that it was sent whole and that every string, list and object is closed"
	case faultValue:
		return "a value is expected here"
	case faultKey:
		return "a key in double quotes is expected here; a comma must not follow the last member"
	case faultColon:
		return "a colon is expected here, after the key"
	case faultMember:
		return "a comma or a closing brace is expected here"
	case faultElement:
		return "a comma or a closing bracket is expected here"
	case faultNumber:
		return "this number is malformed; JSON allows no leading zero, no leading plus and no bare point"
	case faultLiteral:
		return "this word is not JSON; only true, false and null are"
	case faultControl:
		return `a control character stands in a string; escape it, as in \n or \u0000`
	case faultEscape:
		return `this escape is unknown; JSON has \" \\ \/ \b \f \n \r \t and \u with four hexadecimal digits`
	case faultUTF8:
		return "this byte is not UTF-8; encode the body as UTF-8"
	case faultDepth:
		return "lists and objects are nested more than " + strconv.Itoa(MaxDepth) + " deep; flatten them"
	case faultTrailing:
		return "something follows the end of the JSON object; send one object and nothing after it"
	}
	return "the document is malformed"
}

// at turns the fault into the answer for the client, naming the byte.
func (f fault) at(offset int) *Error {
	return BadRequest("", "The request body is not valid JSON at byte "+strconv.Itoa(offset)+": "+f.remedy()+".")
}
