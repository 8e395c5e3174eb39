package sim

import "strconv"

// chatFormat is the JSON of /v1/chat/completions.
type chatFormat struct{}

type chatBody struct {
	ID             string       `json:"id"`
	Object         string       `json:"object"`
	Created        int64        `json:"created"`
	Model          string       `json:"model"`
	Choices        []chatChoice `json:"choices"`
	Usage          usage        `json:"usage"`
	PromptLogprobs *struct{}    `json:"prompt_logprobs"`
}

type chatChoice struct {
	Index        int         `json:"index"`
	Message      chatMessage `json:"message"`
	Logprobs     *struct{}   `json:"logprobs"`
	FinishReason string      `json:"finish_reason"`
	StopReason   *string     `json:"stop_reason"`
}

type chatMessage struct {
	Role             string         `json:"role"`
	ReasoningContent *string        `json:"reasoning_content"`
	Content          *string        `json:"content"`
	ToolCalls        []chatToolCall `json:"tool_calls"`
}

type chatToolCall struct {
	ID       string       `json:"id"`
	Type     string       `json:"type"`
	Function chatFunction `json:"function"`
}

type chatFunction struct {
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

func (j *job) chatMessage(choice int) chatMessage {
	a := &j.choices[choice].answer
	m := chatMessage{Role: "assistant", ToolCalls: []chatToolCall{}}
	if a.tool == "" {
		m.Content = &a.text
		return m
	}
	m.ToolCalls = append(m.ToolCalls, chatToolCall{j.callID(choice), "function", chatFunction{a.tool, a.text}})
	return m
}

func (chatFormat) whole(j *job, cached int) any {
	body := chatBody{ID: j.id, Object: "chat.completion", Created: j.created, Model: j.model, Usage: j.usage(cached)}
	for i, c := range j.choices {
		body.Choices = append(body.Choices, chatChoice{
			Index:        i,
			Message:      j.chatMessage(i),
			FinishReason: c.answer.finish,
			StopReason:   orNull(c.answer.stop),
		})
	}
	return body
}

// Stream frames are appended by hand: there is one for every token.

func (chatFormat) open(b []byte, j *job) []byte {
	for i := range j.choices {
		b = chunkHead(b, j, "chat.completion.chunk")
		b = append(b, `{"index":`...)
		b = strconv.AppendInt(b, int64(i), 10)
		b = append(b, `,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}`...)
		b = chunkEnd(b, j, nil)
	}
	return b
}

func (chatFormat) piece(b []byte, j *job, choice int, text string, seen []progress) []byte {
	b = chunkHead(b, j, "chat.completion.chunk")
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(choice), 10)
	b = append(b, `,"delta":{`...)
	if a := j.choices[choice].answer; a.tool == "" {
		b = append(b, `"content":`...)
		b = appendString(b, text)
	} else {
		b = appendCall(b, j, choice, text, seen[choice].tokens == 1)
	}
	b = append(b, `},"logprobs":null,"finish_reason":`...)
	b = appendFinish(b, j.choices[choice].answer, seen[choice].done)
	b = append(b, '}')
	return chunkEnd(b, j, seen)
}

// appendCall appends the delta of a tool call; the first also says which tool.
func appendCall(b []byte, j *job, choice int, text string, first bool) []byte {
	b = append(b, `"tool_calls":[{`...)
	if first {
		b = append(b, `"id":`...)
		b = appendString(b, j.callID(choice))
		b = append(b, `,"type":"function",`...)
	}
	b = append(b, `"index":0,"function":{`...)
	if first {
		b = append(b, `"name":`...)
		b = appendString(b, j.choices[choice].answer.tool)
		b = append(b, ',')
	}
	b = append(b, `"arguments":`...)
	b = appendString(b, text)
	return append(b, `}}]`...)
}

func (chatFormat) close(b []byte, j *job, seen []progress) []byte {
	return closeChunks(b, j, "chat.completion.chunk", seen)
}

// chunkHead begins a frame, up to the opening of choices.
func chunkHead(b []byte, j *job, object string) []byte {
	b = append(b, `data: {"id":"`...)
	b = append(b, j.id...)
	b = append(b, `","object":"`...)
	b = append(b, object...)
	b = append(b, `","created":`...)
	b = strconv.AppendInt(b, j.created, 10)
	b = append(b, `,"model":`...)
	b = appendString(b, j.model)
	return append(b, `,"choices":[`...)
}

// chunkEnd closes a frame; with continuous usage it tells what was sent so far.
func chunkEnd(b []byte, j *job, seen []progress) []byte {
	b = append(b, ']')
	if j.options.IncludeUsage && j.options.ContinuousUsage && seen != nil {
		b = append(b, `,"usage":`...)
		b = append(b, encodeJSON(j.usageSoFar(seen))...)
	}
	return append(b, "}\n\n"...)
}

// appendFinish appends the value of finish_reason, and stop_reason at the end.
func appendFinish(b []byte, a answer, done bool) []byte {
	if !done {
		return append(b, "null"...)
	}
	b = appendString(b, a.finish)
	b = append(b, `,"stop_reason":`...)
	if a.stop == "" {
		return append(b, "null"...)
	}
	return appendString(b, a.stop)
}

func closeChunks(b []byte, j *job, object string, seen []progress) []byte {
	if j.options.IncludeUsage {
		b = chunkHead(b, j, object)
		b = append(b, `],"usage":`...)
		b = append(b, encodeJSON(j.usageSoFar(seen))...)
		b = append(b, "}\n\n"...)
	}
	return append(b, "data: [DONE]\n\n"...)
}
