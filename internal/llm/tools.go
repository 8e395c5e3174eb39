package llm

// Offers reports whether the request offers a tool of this name: tools[].name,
// or tools[].function.name as the chat API nests it. It reads the list anew each
// time, for few answers call a tool and most requests would be indexed in vain.
func (r *Request) Offers(name []byte) bool { return offers(r.Tools, name) }

// offers does so in the raw JSON of a list that has passed the checker.
func offers(tools, name []byte) bool {
	if len(tools) == 0 || tools[0] != '[' {
		return false
	}
	for i := skipSpace(tools, 1); tools[i] != ']'; i = skipComma(tools, i) {
		start := i
		i, _ = skipValue(tools, i, 0)
		tool := tools[start:i]
		if isString(member(tool, "name"), name) || isString(member(member(tool, "function"), "name"), name) {
			return true
		}
	}
	return false
}

// The functions below read values that are known to be well formed.

// skipComma returns the offset of what follows a member or an element that ends
// at b[i]: the next one, or the end of the container.
func skipComma(b []byte, i int) int {
	i = skipSpace(b, i)
	if b[i] == ',' {
		i = skipSpace(b, i+1)
	}
	return i
}

// member returns the value of a key of an object, the last one of several; nil
// when there is none, or no object.
func member(object []byte, key string) (value []byte) {
	if len(object) == 0 || object[0] != '{' {
		return nil
	}
	for i := skipSpace(object, 1); object[i] != '}'; i = skipComma(object, i) {
		end, _, _ := skipString(object, i)
		named := isString(object[i:end], []byte(key))
		start, _ := skipColon(object, end)
		i, _ = skipValue(object, start, 0)
		if named {
			value = object[start:i]
		}
	}
	return value
}

// isString reports whether raw JSON is a string that says text.
func isString(raw, text []byte) bool {
	if len(raw) < 2 || raw[0] != '"' {
		return false
	}
	var room [128]byte
	said, ok := appendUnescaped(room[:0], raw[1:len(raw)-1])
	return ok && string(said) == string(text)
}
