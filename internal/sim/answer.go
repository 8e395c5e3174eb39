package sim

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"
)

// answer is what a sequence will say. It is known before the engine starts, so
// that the engine knows how long it is.
type answer struct {
	text   string
	tool   string // the function it calls, and text is its arguments; "" for words
	tokens int    // tokens the engine generates, the end-of-text token included
	finish string // finish_reason: "stop", "length" or "tool_calls"
	stop   string // the stop string that ended it, if one did
}

// sampling is how a client bounds an answer.
type sampling struct {
	limit     int // most tokens to generate, at least 1
	minimum   int // tokens before the answer may end by itself
	ignoreEnd bool
	stops     []string
	json      bool // the client asked for a JSON object
	tools     toolUse
}

// quality is a way for an answer to be bad.
type quality string

const (
	qualityGood        quality = ""
	qualityEmpty       quality = "empty"
	qualityLoop        quality = "loop"
	qualityInvalidJSON quality = "invalid-json"
	qualityOverlong    quality = "overlong"

	// qualityInvalidToolCall only shows where the request offers tools.
	qualityInvalidToolCall quality = "invalid-tool-call"
)

// How many tokens a looping or over-long answer takes when the client sets no
// smaller limit: a multiple of an ordinary answer, yet it ends.
const (
	loopTokens     = 512
	overlongTokens = 1024
)

// compose writes the answer of speaker to question. The same arguments give the
// same answer; choice tells the n answers to one question apart.
func compose(speaker, question string, choice int, s sampling, q quality) answer {
	if a, ok := composeCall(speaker, question, choice, s, q); ok {
		return a
	}
	text := prose(speaker, question, choice)
	floor := 0
	if s.json {
		inside := s.minimum // after the object there must be nothing
		if q == qualityOverlong {
			inside = max(inside, overlongTokens)
		}
		text = jsonAnswer(speaker, pad(text, inside, s.limit))
	}
	switch q {
	case qualityEmpty:
		text = ""
	case qualityLoop:
		text += strings.Repeat(" I said that already.", ceilDiv(loopTokens*bytesPerToken, 20))
	case qualityInvalidJSON:
		text = strings.TrimSuffix(jsonAnswer(speaker, text), `"}`) + `, }`
	case qualityOverlong:
		floor = overlongTokens
	}
	if s.ignoreEnd {
		floor = s.limit
	}
	return s.bound(pad(text, max(floor, s.minimum), s.limit))
}

// composeCall writes the call of a tool, if that is to be the answer.
func composeCall(speaker, question string, choice int, s sampling, q quality) (a answer, ok bool) {
	hash := hashString(hashString(uint64(choice), speaker), question)
	t := s.tools.pick(hash, q)
	if t == nil {
		return answer{}, false
	}
	name, arguments := t.call(question, hash, q)
	s.stops = nil // they are for words
	a = s.bound(arguments)
	if a.tool = name; a.finish == "stop" {
		a.finish = "tool_calls"
	}
	return a, true
}

// pad lengthens text to at least n tokens, but not beyond limit.
func pad(text string, n, limit int) string {
	n = min(n, limit)
	missing := n - countTokens(text)
	if missing <= 0 {
		return text
	}
	// Remarks are numbered, for to be long is not to run in circles.
	var b strings.Builder
	b.WriteString(text)
	list := remarks()
	for i := 0; b.Len() < len(text)+missing*(bytesPerToken+utf8.UTFMax); i++ {
		b.WriteString(" Remark " + strconv.Itoa(i+1) + ": " + list[i%len(list)])
	}
	text = b.String()
	head, _ := cutTokens(text, n)
	return head
}

// bound applies stop strings and the token limit.
func (s sampling) bound(text string) answer {
	a := answer{text: text, finish: "stop"}
	// The token that ends the text counts, as it does with vLLM.
	a.tokens = countTokens(text) + 1
	if at, stop := s.firstStop(text); stop != "" {
		a.text, a.stop = text[:at], stop
		a.tokens = countTokens(text[:at+len(stop)])
	}
	if a.tokens > s.limit {
		head, _ := cutTokens(text, s.limit)
		if len(head) < len(a.text) {
			a.text = head
		}
		a.tokens, a.finish, a.stop = s.limit, "length", ""
	}
	return a
}

// firstStop finds the stop string that is complete first.
func (s sampling) firstStop(text string) (at int, stop string) {
	end := len(text) + 1
	for _, candidate := range s.stops {
		i := strings.Index(text, candidate)
		if i >= 0 && i+len(candidate) < end {
			at, stop, end = i, candidate, i+len(candidate)
		}
	}
	return at, stop
}

// prose introduces the speaker, repeats the beginning of the question, and adds
// remarks chosen by both, so that answers differ in length as real ones do.
func prose(speaker, question string, choice int) string {
	var b strings.Builder
	b.WriteString("I am " + speaker + ", played by a simulator: no neural network wrote this.")
	if q := excerpt(question); q != "" {
		b.WriteString(" You said: “" + q + "”.")
	}
	list := remarks()
	h := hashString(hashString(uint64(choice), speaker), question)
	first, count := h%uint64(len(list)), h>>32%3
	for i := range count {
		b.WriteString(" " + list[(first+i)%uint64(len(list))])
	}
	return b.String()
}

func remarks() []string {
	return []string{
		"Ask me again and you will read the very same words.",
		"If a gateway chose me for you, my name tells you which version it chose.",
		"The words cost nothing, but their timing follows an engine that prefills, decodes and runs out of memory.",
		"Other people's long prompts slow me down, as they would on an accelerator.",
		"You may break me on purpose and nobody will be woken at night.",
		"My prefix cache remembers how your prompt began, which is more than I can say of its meaning.",
		"A real model would be wiser, slower to start and far more expensive.",
	}
}

// maxExcerpt bounds how much of a question an answer repeats, in bytes.
const maxExcerpt = 80

// excerpt is the beginning of s on one line, cut between characters.
func excerpt(s string) string {
	if len(s) > 4*maxExcerpt {
		s = s[:4*maxExcerpt]
	}
	s = strings.ToValidUTF8(strings.Join(strings.Fields(s), " "), "")
	if len(s) <= maxExcerpt {
		return s
	}
	cut := maxExcerpt
	for !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

func jsonAnswer(speaker, text string) string {
	b, _ := json.Marshal(map[string]string{"model": speaker, "answer": text}) // two strings always marshal
	return string(b)
}
