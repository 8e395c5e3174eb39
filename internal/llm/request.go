package llm

import (
	"bytes"
	"math"
	"strconv"
)

// MaxModelLength is how many bytes a model's name may have.
const MaxModelLength = 1024

// MaxIdentityLength is how many bytes [Request.User] and its like may have.
const MaxIdentityLength = 256

// Request is what the gateway reads of a model call's JSON body. It is a hint
// to the gateway, not a validation for the engine: a field of an unexpected
// type is left for the engine to refuse, except "model", which decides where
// the call goes.
type Request struct {
	Model        string // as the client asked; "" when HasModel is false
	HasModel     bool   // the body has a "model"
	Stream       bool   // "stream": true
	IncludeUsage bool   // stream_options.include_usage: true

	// MaxTokens is how many tokens the answer may have at most, from
	// max_completion_tokens, max_output_tokens or max_tokens, in this order of
	// preference; 0 when unset, at most math.MaxInt32.
	MaxTokens int

	// Prompt is the raw JSON of messages, prompt or input, in this order of
	// preference. It aliases the body; nil when there is none.
	Prompt []byte

	// CacheSalt is the raw JSON of cache_salt, by which engines keep the prefixes of
	// tenants apart. It aliases the body; nil when there is none.
	CacheSalt []byte

	// User, PromptCacheKey and SafetyIdentifier are the inside of the strings user,
	// prompt_cache_key and safety_identifier, by which a client's calls can be kept
	// together. They alias the body, escapes as they are written: keys to compare
	// and hash, no text to show. nil when absent, empty, no string, or longer than
	// [MaxIdentityLength].
	User, PromptCacheKey, SafetyIdentifier []byte

	// WantsJSON: response_format, or text.format in the Responses API, is of type
	// json_object or json_schema.
	WantsJSON bool

	// Tools is the raw JSON of tools, the list of what the model may call; see
	// [Request.Offers]. It aliases the body; nil when there is none.
	Tools []byte

	model span // of the value of "model" in the body, quotes included
}

// span is a half-open range of offsets into a body; no value is empty, so the
// zero span means absent.
type span struct{ start, end int }

func (s span) in(b []byte) []byte { return b[s.start:s.end] }

// field is a key the gateway acts on or measures by.
type field uint8

const (
	fieldOther field = iota
	fieldModel
	fieldStream
	fieldStreamOptions
	fieldMaxCompletionTokens
	fieldMaxOutputTokens
	fieldMaxTokens
	fieldMessages
	fieldPrompt
	fieldInput
	fieldCacheSalt
	fieldUser
	fieldPromptCacheKey
	fieldSafetyIdentifier
	fieldIncludeUsage // inside stream_options

	// From here on the gateway only measures: it decides nothing by them.
	fieldResponseFormat
	fieldText
	fieldTools
	fieldFormatType     // type inside response_format
	fieldTextFormat     // format inside text
	fieldTextFormatType // type inside that
	fieldCount
)

// measured reports whether a field only tells what answer to expect. Such a key
// may come twice; its last value counts, as it does for most parsers.
func (f field) measured() bool { return f >= fieldResponseFormat }

// scope is an object of the body whose keys have a meaning.
type scope uint8

const (
	scopeTop scope = iota
	scopeStreamOptions
	scopeResponseFormat
	scopeText
	scopeTextFormat
)

// depth returns how deep in the body the object stands.
func (s scope) depth() int {
	switch s {
	case scopeTop:
		return 1
	case scopeTextFormat:
		return 3
	}
	return 2
}

// longestField is the length of the longest key that topField knows.
const longestField = len("max_completion_tokens")

// topField names the keys of the body that the gateway acts on. Comparison is
// by bytes, as in JSON: "Model" is another key.
func topField(key []byte) field {
	switch string(key) {
	case "model":
		return fieldModel
	case "stream":
		return fieldStream
	case "stream_options":
		return fieldStreamOptions
	case "max_completion_tokens":
		return fieldMaxCompletionTokens
	case "max_output_tokens":
		return fieldMaxOutputTokens
	case "max_tokens":
		return fieldMaxTokens
	case "messages":
		return fieldMessages
	case "prompt":
		return fieldPrompt
	case "input":
		return fieldInput
	case "cache_salt":
		return fieldCacheSalt
	case "user":
		return fieldUser
	case "prompt_cache_key":
		return fieldPromptCacheKey
	case "safety_identifier":
		return fieldSafetyIdentifier
	case "response_format":
		return fieldResponseFormat
	case "text":
		return fieldText
	case "tools":
		return fieldTools
	}
	return fieldOther
}

// field does the same in any scope.
func (s scope) field(key []byte) field {
	switch {
	case s == scopeTop:
		return topField(key)
	case s == scopeStreamOptions && string(key) == "include_usage":
		return fieldIncludeUsage
	case s == scopeResponseFormat && string(key) == "type":
		return fieldFormatType
	case s == scopeText && string(key) == "format":
		return fieldTextFormat
	case s == scopeTextFormat && string(key) == "type":
		return fieldTextFormatType
	}
	return fieldOther
}

// Scan reads the body of a model call. It checks all of it: the error, always
// an *[Error] with status 400, tells the byte and the remedy.
//
// The check is stricter than most parsers, because a body that two parsers
// read differently can be routed as one model and served as another. Refused
// are bytes that are not UTF-8, byte order marks, control characters in
// strings, anything after the object, nesting beyond [MaxDepth], and a key the
// gateway acts on that appears twice, in whatever spelling ("mod\u0065l" is
// "model"). Of duplicate keys some parsers take the first and some the last.
// Keys by which the gateway only measures the answer, such as "tools", may
// appear twice: no call goes elsewhere for them.
//
// Half a surrogate pair is accepted in strings as RFC 8259 has it, but not in
// the model's name, which must also be a string of 1 to [MaxModelLength] bytes
// without control characters. A body without "model" is no error here; see
// [MissingModel].
func Scan(body []byte) (Request, error) {
	var r Request
	values, err := scanObject(body)
	if err != nil {
		return r, err
	}
	if v := values[fieldModel]; v.end > 0 {
		if r.Model, err = readModel(v.in(body)); err != nil {
			return Request{}, err
		}
		r.HasModel, r.model = true, v
	}
	r.Stream = isTrue(values[fieldStream].in(body))
	r.IncludeUsage = isTrue(values[fieldIncludeUsage].in(body))
	r.MaxTokens = firstCount(body, values[fieldMaxCompletionTokens], values[fieldMaxOutputTokens], values[fieldMaxTokens])
	r.Prompt = firstValue(body, values[fieldMessages], values[fieldPrompt], values[fieldInput])
	r.CacheSalt = firstValue(body, values[fieldCacheSalt])
	r.User = identity(body, values[fieldUser])
	r.PromptCacheKey = identity(body, values[fieldPromptCacheKey])
	r.SafetyIdentifier = identity(body, values[fieldSafetyIdentifier])
	r.WantsJSON = namesJSON(values[fieldFormatType].in(body)) || namesJSON(values[fieldTextFormatType].in(body))
	r.Tools = firstValue(body, values[fieldTools])
	return r, nil
}

// WithModel returns the body that asks for another model: what precedes the
// value of "model", the new name as a JSON string, and the rest. The body must
// be the one that was scanned; first and last part alias it. A body without
// "model" comes back unchanged as the first part.
func (r *Request) WithModel(body []byte, model string) [3][]byte {
	if !r.HasModel {
		return [3][]byte{body, nil, nil}
	}
	quoted := appendQuoted(make([]byte, 0, len(model)+2), model)
	return [3][]byte{body[:r.model.start], quoted, body[r.model.end:]}
}

// scanObject checks the whole body and returns where the values of known keys
// lie in it.
func scanObject(body []byte) (values [fieldCount]span, err error) {
	i := skipSpace(body, 0)
	switch {
	case i == len(body):
		return values, faultEmpty.at(i)
	case bytes.HasPrefix(body, []byte("\uFEFF")):
		return values, faultMark.at(0)
	case body[i] != '{':
		return values, faultTop.at(i)
	}
	end, err := scanMembers(body, i, scopeTop, &values)
	if err != nil {
		return values, err
	}
	if end = skipSpace(body, end); end != len(body) {
		return values, faultTrailing.at(end)
	}
	// These are checked already; this only finds their members.
	err = scanInside(body, fieldStreamOptions, scopeStreamOptions, &values)
	if err != nil {
		return values, err
	}
	// None of these keys can be refused.
	_ = scanInside(body, fieldResponseFormat, scopeResponseFormat, &values)
	_ = scanInside(body, fieldText, scopeText, &values)
	_ = scanInside(body, fieldTextFormat, scopeTextFormat, &values)
	return values, nil
}

// scanInside finds the members of a value that is an object and known to be
// well formed.
func scanInside(body []byte, f field, s scope, values *[fieldCount]span) error {
	v := values[f]
	if v.end == 0 || body[v.start] != '{' {
		return nil
	}
	_, err := scanMembers(body, v.start, s, values)
	return err
}

// scanMembers checks the object that starts at b[i] and notes where the values
// of the keys lie that scope s knows.
func scanMembers(b []byte, i int, s scope, values *[fieldCount]span) (end int, err error) {
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1, nil
	}
	for {
		name, f := fieldOther, faultNone
		key := i
		if i, name, f = scanKey(b, i, s); f != faultNone {
			return i, f.at(i)
		}
		start := i
		if i, f = skipValue(b, i, s.depth()); f != faultNone {
			return i, f.at(i)
		}
		if name != fieldOther {
			if values[name].end > 0 && !name.measured() {
				return key, repeated(b[key:], key)
			}
			values[name] = span{start, i}
		}
		i = skipSpace(b, i)
		switch {
		case i == len(b):
			return i, faultEnd.at(i)
		case b[i] == '}':
			return i + 1, nil
		case b[i] != ',':
			return i, faultMember.at(i)
		}
		i = skipSpace(b, i+1)
	}
}

// scanKey checks a key and its colon, and returns the offset of the value and
// the field that the key names in scope s.
func scanKey(b []byte, i int, s scope) (value int, name field, f fault) {
	if i == len(b) {
		return i, fieldOther, faultEnd
	}
	if b[i] != '"' {
		return i, fieldOther, faultKey
	}
	end, escaped, f := skipString(b, i)
	if f != faultNone {
		return end, fieldOther, f
	}
	key := b[i+1 : end-1]
	var buf [6 * longestField]byte
	if escaped {
		key = unescapeKey(buf[:0], key)
	}
	name = s.field(key)
	value, f = skipColon(b, end)
	return value, name, f
}

// unescapeKey returns the text of a key, using the room in buf, or nil if it is
// none of ours: half a surrogate pair is in none of our keys, and six bytes are
// the longest way to write one ASCII character, so buf never has to grow.
func unescapeKey(buf, raw []byte) []byte {
	if len(raw) > cap(buf) {
		return nil
	}
	key, ok := appendUnescaped(buf, raw)
	if !ok {
		return nil
	}
	return key
}

// repeated is the answer to a known key that appears for the second time at b,
// which is offset bytes into the body. The key's text is the gateway's own
// word, not the client's, so it may be named.
func repeated(b []byte, offset int) *Error {
	end, _, _ := skipString(b, 0)
	key, _ := appendUnescaped(nil, b[1:end-1])
	return BadRequest(string(key), `The key "`+string(key)+`" appears twice, the second time at byte `+
		strconv.Itoa(offset)+"; send it once.")
}

// readModel returns the text of the value of "model", given its raw JSON.
func readModel(raw []byte) (string, error) {
	if raw[0] != '"' {
		return "", BadRequest("model", `"model" must be a string; GET /v1/models lists the names to choose from.`)
	}
	text := raw[1 : len(raw)-1]
	if len(text) > 6*MaxModelLength {
		return "", modelTooLong()
	}
	if bytes.IndexByte(text, '\\') >= 0 {
		var ok bool
		if text, ok = appendUnescaped(nil, text); !ok {
			return "", BadRequest("model", `"model" escapes half of a surrogate pair, which is no text; send the name in UTF-8.`)
		}
	}
	switch {
	case len(text) == 0:
		return "", BadRequest("model", `"model" is empty; GET /v1/models lists the names to choose from.`)
	case len(text) > MaxModelLength:
		return "", modelTooLong()
	case hasControl(text):
		return "", BadRequest("model", `"model" holds a control character; send the name as GET /v1/models lists it.`)
	}
	return string(text), nil
}

func modelTooLong() *Error {
	return BadRequest("model", `"model" is longer than `+strconv.Itoa(MaxModelLength)+" bytes; send the name as GET /v1/models lists it.")
}

// hasControl reports whether b holds an ASCII control character: names go into
// headers, log lines and labels, where those would end a line.
func hasControl(b []byte) bool {
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return true
		}
	}
	return false
}

func isTrue(raw []byte) bool { return string(raw) == "true" }

// firstCount returns the first of the values that is a count above 0.
func firstCount(body []byte, values ...span) int {
	for _, v := range values {
		if n, ok := parseCount(v.in(body)); ok && n > 0 {
			return n
		}
	}
	return 0
}

// firstValue returns the raw JSON of the first of the values that is present
// and not null.
func firstValue(body []byte, values ...span) []byte {
	for _, v := range values {
		if v.end > 0 && string(v.in(body)) != "null" {
			return body[v.start:v.end:v.end]
		}
	}
	return nil
}

// identity returns the inside of a string that says whose call this is, nil for
// anything else.
func identity(body []byte, v span) []byte {
	if v.end == 0 || body[v.start] != '"' {
		return nil
	}
	start, end := v.start+1, v.end-1
	if start == end || end-start > MaxIdentityLength {
		return nil
	}
	return body[start:end:end]
}

// namesJSON reports whether the type of a response format promises JSON.
func namesJSON(raw []byte) bool {
	return string(raw) == `"json_object"` || string(raw) == `"json_schema"`
}

// parseCount reads a whole number of tokens, at least 0, as it stands in JSON.
// Larger ones than math.MaxInt32 are read as that.
func parseCount(raw []byte) (n int, ok bool) {
	for _, c := range raw {
		if !isDigit(c) {
			return 0, false
		}
		if n = n*10 + int(c-'0'); n > math.MaxInt32 {
			n = math.MaxInt32
		}
	}
	return n, len(raw) > 0
}
