package llm

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
)

// A Revision is what a copy of a model call asks for otherwise than the call.
type Revision struct {
	Model string // in the model's place
	// MaxTokens is how many tokens the answer may have at most; 0 leaves that as it is.
	MaxTokens int
	// LimitField is the key that says so where the body has none of those that
	// [Request.MaxTokens] is read of: "max_tokens" or the like; "" adds none.
	LimitField string
}

// edit puts text in the place of a part of the body.
type edit struct {
	span
	text []byte
}

// Revised returns the body as v has it, in parts of which most alias it. The body
// must be the one that was scanned, or an equal one, and name a model.
//
// Every limit in the body that is above v's, or is no number, is replaced: engines
// differ in which of them they go by.
func (r *Request) Revised(body []byte, v Revision) [][]byte {
	edits := []edit{{r.model, appendQuoted(nil, v.Model)}}
	if v.MaxTokens > 0 {
		edits = append(edits, r.limits(body, v)...)
	}
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.start, b.start) })
	parts, done := make([][]byte, 0, 2*len(edits)+1), 0
	for _, e := range edits {
		parts = append(parts, body[done:e.start], e.text)
		done = e.end
	}
	return append(parts, body[done:])
}

// limits are the edits that bound the answer's tokens. None raises the call's own
// limit.
func (r *Request) limits(body []byte, v Revision) (edits []edit) {
	values, err := scanObject(body)
	if err != nil {
		return nil // no body that was scanned
	}
	most := v.MaxTokens
	if r.MaxTokens > 0 {
		most = min(most, r.MaxTokens)
	}
	number, found := strconv.AppendInt(nil, int64(most), 10), false
	for _, f := range [...]field{fieldMaxCompletionTokens, fieldMaxOutputTokens, fieldMaxTokens} {
		s := values[f]
		if s.end == 0 {
			continue
		}
		found = true
		if n, ok := parseCount(s.in(body)); !ok || n == 0 || n > v.MaxTokens {
			edits = append(edits, edit{s, number})
		}
	}
	if !found && v.LimitField != "" {
		// The body has a model, so what follows the brace is another member.
		first := bytes.IndexByte(body, '{') + 1
		text := append(append(appendQuoted(nil, v.LimitField), ':'), number...)
		edits = append(edits, edit{span{first, first}, append(text, ',')})
	}
	return edits
}
