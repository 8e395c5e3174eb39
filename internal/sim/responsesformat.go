package sim

// responsesFormat is the JSON of /v1/responses, for one request: events of a
// stream are numbered.
type responsesFormat struct {
	instructions *string
	maxTokens    *int
	message      string // id of the one output item
	sequence     int
}

type responseBody struct {
	ID             string            `json:"id"`
	Object         string            `json:"object"`
	CreatedAt      int64             `json:"created_at"`
	Status         string            `json:"status"`
	Error          *struct{}         `json:"error"`
	Incomplete     *incompleteReason `json:"incomplete_details"`
	Instructions   *string           `json:"instructions"`
	MaxTokens      *int              `json:"max_output_tokens"`
	Model          string            `json:"model"`
	Output         []any             `json:"output"`
	ParallelTools  bool              `json:"parallel_tool_calls"`
	Previous       *string           `json:"previous_response_id"`
	Store          bool              `json:"store"`
	ToolChoice     string            `json:"tool_choice"`
	Tools          []struct{}        `json:"tools"`
	Truncation     string            `json:"truncation"`
	Usage          *responseUsage    `json:"usage"`
	ServiceTier    string            `json:"service_tier"`
	Metadata       map[string]string `json:"metadata"`
	Background     bool              `json:"background"`
	TopP           float64           `json:"top_p"`
	Temperature    float64           `json:"temperature"`
	ReasoningTrace *struct{}         `json:"reasoning"`
}

type incompleteReason struct {
	Reason string `json:"reason"`
}

type outputItem struct {
	ID      string       `json:"id"`
	Type    string       `json:"type"`
	Role    string       `json:"role"`
	Status  string       `json:"status"`
	Content []outputText `json:"content"`
}

type outputText struct {
	Type        string     `json:"type"`
	Text        string     `json:"text"`
	Annotations []struct{} `json:"annotations"`
	Logprobs    *struct{}  `json:"logprobs"`
}

type responseUsage struct {
	InputTokens  int `json:"input_tokens"`
	InputDetails struct {
		CachedTokens int `json:"cached_tokens"`
	} `json:"input_tokens_details"`
	OutputTokens  int `json:"output_tokens"`
	OutputDetails struct {
		ReasoningTokens int `json:"reasoning_tokens"`
	} `json:"output_tokens_details"`
	TotalTokens int `json:"total_tokens"`
}

func (f *responsesFormat) whole(j *job, cached int) any { return f.finished(j, cached) }

func (f *responsesFormat) begun(j *job) responseBody {
	return responseBody{
		ID: j.id, Object: "response", CreatedAt: j.created, Status: "in_progress",
		Instructions: f.instructions, MaxTokens: f.maxTokens, Model: j.model,
		Output: []any{}, ParallelTools: true, ToolChoice: "auto", Tools: []struct{}{},
		Truncation: "disabled", ServiceTier: "auto", Metadata: map[string]string{}, TopP: 1, Temperature: 1,
	}
}

func (f *responsesFormat) finished(j *job, cached int) responseBody {
	a := j.choices[0].answer
	body := f.begun(j)
	body.Status = "completed"
	if a.finish == "length" {
		body.Status, body.Incomplete = "incomplete", &incompleteReason{"max_output_tokens"}
	}
	body.Output = []any{f.item(j, body.Status, a.text)}
	u := &responseUsage{InputTokens: j.prompt, OutputTokens: a.tokens, TotalTokens: j.prompt + a.tokens}
	u.InputDetails.CachedTokens = cached
	body.Usage = u
	return body
}

// functionItem is the output item of a tool call.
type functionItem struct {
	ID        string `json:"id"`
	Type      string `json:"type"`
	Status    string `json:"status"`
	CallID    string `json:"call_id"`
	Name      string `json:"name"`
	Arguments string `json:"arguments"`
}

// item is the one output item, with the text said so far.
func (f *responsesFormat) item(j *job, status, text string) any {
	if a := j.choices[0].answer; a.tool != "" {
		return functionItem{ID: f.message, Type: "function_call", Status: status, CallID: j.callID(0), Name: a.tool, Arguments: text}
	}
	content := []outputText{}
	if status != "in_progress" {
		content = append(content, part(text))
	}
	return outputItem{ID: f.message, Type: "message", Role: "assistant", Status: status, Content: content}
}

func part(text string) outputText {
	return outputText{Type: "output_text", Text: text, Annotations: []struct{}{}}
}

// event is any event of the stream; the fields that a type lacks are absent.
type event struct {
	Type         string        `json:"type"`
	Sequence     int           `json:"sequence_number"`
	Response     *responseBody `json:"response,omitempty"`
	OutputIndex  *int          `json:"output_index,omitempty"`
	ContentIndex *int          `json:"content_index,omitempty"`
	ItemID       string        `json:"item_id,omitempty"`
	Item         any           `json:"item,omitempty"`
	Part         *outputText   `json:"part,omitempty"`
	Delta        *string       `json:"delta,omitempty"`
	Text         *string       `json:"text,omitempty"`
	Arguments    *string       `json:"arguments,omitempty"`
}

func (f *responsesFormat) emit(b []byte, e event) []byte {
	e.Sequence = f.sequence
	f.sequence++
	return appendEvent(b, e.Type, e)
}

func (f *responsesFormat) open(b []byte, j *job) []byte {
	zero, body := 0, f.begun(j)
	empty := part("")
	b = f.emit(b, event{Type: "response.created", Response: &body})
	b = f.emit(b, event{Type: "response.in_progress", Response: &body})
	b = f.emit(b, event{Type: "response.output_item.added", OutputIndex: &zero, Item: f.item(j, "in_progress", "")})
	if j.choices[0].answer.tool != "" {
		return b
	}
	return f.emit(b, event{Type: "response.content_part.added", ItemID: f.message,
		OutputIndex: &zero, ContentIndex: &zero, Part: &empty})
}

func (f *responsesFormat) piece(b []byte, j *job, _ int, text string, _ []progress) []byte {
	if text == "" {
		return b // the token that ends the text
	}
	zero := 0
	if j.choices[0].answer.tool != "" {
		return f.emit(b, event{Type: "response.function_call_arguments.delta", ItemID: f.message, OutputIndex: &zero, Delta: &text})
	}
	return f.emit(b, event{Type: "response.output_text.delta", ItemID: f.message,
		OutputIndex: &zero, ContentIndex: &zero, Delta: &text})
}

func (f *responsesFormat) close(b []byte, j *job, seen []progress) []byte {
	zero, body := 0, f.finished(j, cachedTokens(seen))
	text := j.choices[0].answer.text
	if j.choices[0].answer.tool != "" {
		b = f.emit(b, event{Type: "response.function_call_arguments.done", ItemID: f.message, OutputIndex: &zero, Arguments: &text})
	} else {
		whole := part(text)
		b = f.emit(b, event{Type: "response.output_text.done", ItemID: f.message,
			OutputIndex: &zero, ContentIndex: &zero, Text: &text})
		b = f.emit(b, event{Type: "response.content_part.done", ItemID: f.message,
			OutputIndex: &zero, ContentIndex: &zero, Part: &whole})
	}
	b = f.emit(b, event{Type: "response.output_item.done", OutputIndex: &zero, Item: body.Output[0]})
	return f.emit(b, event{Type: "response." + body.Status, Response: &body})
}
