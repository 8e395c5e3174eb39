package sim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

type chatRequest struct {
	generation
	Messages            []message       `json:"messages"`
	MaxCompletionTokens *int            `json:"max_completion_tokens"`
	Tools               json.RawMessage `json:"tools"`
	ToolChoice          toolChoice      `json:"tool_choice"`
}

// message is one turn of a conversation. Content is a string or an array of
// parts; a call of a tool comes without.
type message struct {
	Role    string      `json:"role"`
	Content messageText `json:"content"`
}

// messageText is content reduced to its text.
type messageText string

func (t *messageText) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '[' {
		return json.Unmarshal(b, (*string)(t))
	}
	var parts []struct {
		Type string `json:"type"`
		Text string `json:"text"`
	}
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	var text strings.Builder
	for _, p := range parts {
		switch p.Type {
		case "text", "input_text", "output_text":
			text.WriteString(p.Text)
		default:
			return fmt.Errorf("message content of type %q: this model reads text only", p.Type)
		}
	}
	*t = messageText(text.String())
	return nil
}

// maxMessages bounds a conversation.
const maxMessages = 4096

// prompt renders a conversation as a chat template would. Turns only ever add to
// the end, so that a conversation's prefix stays the same from turn to turn.
func prompt(messages []message, tools json.RawMessage) string {
	var b strings.Builder
	if len(tools) > 0 && string(tools) != "null" {
		b.WriteString("<|im_start|>tools\n" + string(tools) + "<|im_end|>\n")
	}
	for _, m := range messages {
		b.WriteString("<|im_start|>" + m.Role + "\n" + string(m.Content) + "<|im_end|>\n")
	}
	b.WriteString("<|im_start|>assistant\n")
	return b.String()
}

// question is the last thing the user said.
func question(messages []message) string {
	for i := len(messages) - 1; i >= 0; i-- {
		if messages[i].Role == "user" {
			return string(messages[i].Content)
		}
	}
	return ""
}

// afterTool reports whether a tool has just answered.
func afterTool(messages []message) bool {
	return len(messages) > 0 && messages[len(messages)-1].Role == "tool"
}

func checkMessages(messages []message) *apiError {
	if len(messages) == 0 || len(messages) > maxMessages {
		return badRequest("messages", "%d messages: want 1 to %d", len(messages), maxMessages)
	}
	for i, m := range messages {
		switch m.Role {
		case "system", "developer", "user", "assistant", "tool", "function":
		default:
			return badRequest("messages", "messages[%d].role is %q: want system, developer, user, assistant or tool", i, m.Role)
		}
	}
	return nil
}

func (s *Server) chat(w http.ResponseWriter, r *http.Request) {
	var req chatRequest
	e := s.decode(w, r, &req)
	var j *job
	if e == nil {
		j, e = s.chatJob(r, &req)
	}
	if e != nil {
		writeError(w, e)
		return
	}
	s.run(w, r, j)
}

func (s *Server) chatJob(r *http.Request, req *chatRequest) (*job, *apiError) {
	asked := req.MaxCompletionTokens
	if asked == nil {
		asked = req.MaxTokens
	}
	if e := req.check(); e != nil {
		return nil, e
	}
	if e := checkMessages(req.Messages); e != nil {
		return nil, e
	}
	req.use = toolUse{tools: readTools(req.Tools), choice: req.ToolChoice, answered: afterTool(req.Messages)}
	if e := req.use.check(); e != nil {
		return nil, e
	}
	j, e := s.newJob(r, "chatcmpl-", &req.generation, chatFormat{})
	if e != nil {
		return nil, e
	}
	source := source{tokens: tokenize(nil, prompt(req.Messages, req.Tools)), question: question(req.Messages)}
	return j, s.addChoices(j, &req.generation, asked, source)
}

// newJob checks the model, draws the faults and makes a job without choices.
func (s *Server) newJob(r *http.Request, prefix string, g *generation, f format) (*job, *apiError) {
	if _, _, e := s.speaker(g.Model); e != nil {
		return nil, e
	}
	m, e := s.mishap(r)
	if e != nil {
		return nil, e
	}
	j := &job{
		id: s.newID(prefix), model: g.Model, created: time.Now().Unix(),
		stream: g.Stream, format: f, mishap: m,
	}
	if g.StreamOptions != nil {
		j.options = *g.StreamOptions
	}
	return j, nil
}

// source is one prompt and the question that it asks.
type source struct {
	tokens   []uint32
	question string
}

// addChoices gives the job n answers to one prompt.
func (s *Server) addChoices(j *job, g *generation, asked *int, src source) *apiError {
	name, adapter, e := s.speaker(j.model)
	if e != nil {
		return e
	}
	n, e := g.choices()
	if e != nil {
		return e
	}
	how, e := g.sampling(s.cfg.Limits, len(src.tokens), asked)
	if e != nil {
		return e
	}
	for i := range n {
		a := compose(name, src.question, i, how, j.mishap.quality)
		j.choices = append(j.choices, choice{
			answer: a,
			task: task{
				work:   Work{Prompt: src.tokens, Adapter: adapter, Output: a.tokens},
				finish: a.finish, maxTokens: requested(asked),
			},
		})
	}
	j.prompt += len(src.tokens)
	return nil
}
