//go:build linux

package main

import (
	"fmt"
	"strconv"
	"strings"
)

// The words that load, engine and targets agree on.
const (
	// askedModel is the name clients send. Crossfade rewrites it to a group's own.
	askedModel = "bench"
	modelA     = "bench-stable"
	modelB     = "bench-candidate"

	chatPath = "/v1/chat/completions"
)

// A group is one of the two versions that traffic is split over.
type group struct {
	name, model string
	weight      int // percent
}

// groups returns the split that every target is set up with.
func groups() [2]group {
	return [2]group{{"stable", modelA, 90}, {"candidate", modelB, 10}}
}

// words is filler for an answer of about 700 bytes.
const words = "A gray release moves a small share of the traffic to the new version first, watches how it does, " +
	"and goes on only when nothing got worse. With language models the watch is harder than with other services: " +
	"an answer may be quick, well formed and still wrong. So keep the old version warm, move in small steps, and " +
	"compare like with like before each of them."

// answerBody is the chat completion that an engine of the named group gives for model.
func answerBody(group, model string) []byte {
	return fmt.Appendf(nil, `{"id":"chatcmpl-bench","object":"chat.completion","created":1700000000,"model":%q,`+
		`"system_fingerprint":%q,"choices":[{"index":0,"message":{"role":"assistant","content":%q},`+
		`"logprobs":null,"finish_reason":"stop"}],`+
		`"usage":{"prompt_tokens":42,"completion_tokens":96,"total_tokens":138}}`, model, group, words)
}

// appendEvent adds one event of a stream. Events are numbered so that a lost,
// doubled or misplaced one is seen.
func appendEvent(dst []byte, group, model string, number int) []byte {
	dst = append(dst, `data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":`...)
	dst = strconv.AppendInt(dst, int64(number), 10)
	dst = append(dst, `,"model":"`...)
	dst = append(dst, model...)
	dst = append(dst, `","system_fingerprint":"`...)
	dst = append(dst, group...)
	return append(dst, `","choices":[{"index":0,"delta":{"content":" token"},"finish_reason":null}]}`+"\n\n"...)
}

const doneEvent = "data: [DONE]\n\n"

// chatRequest is a whole HTTP request with a body of 300 bytes.
func chatRequest(host, query string, stream bool) []byte {
	body := fmt.Sprintf(`{"model":%q,"stream":%t,"max_tokens":96,"temperature":0.7,"messages":[`+
		`{"role":"system","content":"You are a terse assistant."},{"role":"user","content":"`, askedModel, stream)
	const tail = `"}]}`
	body += strings.Repeat("Why release in small steps? ", 10)[:300-len(body)-len(tail)] + tail
	return fmt.Appendf(nil, "POST %s%s HTTP/1.1\r\nHost: %s\r\nUser-Agent: bench\r\nAccept: */*\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", chatPath, query, host, len(body), body)
}
