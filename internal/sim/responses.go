package sim

import (
	"encoding/json"
	"net/http"
	"slices"
)

type responsesRequest struct {
	Model        string         `json:"model"`
	Input        responsesInput `json:"input"`
	Instructions string         `json:"instructions"`
	Stream       bool           `json:"stream"`
	MaxTokens    *int           `json:"max_output_tokens"`
	Previous     string         `json:"previous_response_id"`
	Background   bool           `json:"background"`

	Text *struct {
		Format *responseFormat `json:"format"`
	} `json:"text"`
	Tools      json.RawMessage `json:"tools"`
	ToolChoice toolChoice      `json:"tool_choice"`
}

// responsesInput is a text or a list of messages.
type responsesInput []message

func (in *responsesInput) UnmarshalJSON(b []byte) error {
	var text string
	if json.Unmarshal(b, &text) == nil {
		*in = responsesInput{{Role: "user", Content: messageText(text)}}
		return nil
	}
	return json.Unmarshal(b, (*[]message)(in))
}

// responses is the basic form of the Responses API: text in, text or one call of a
// tool out, nothing stored.
func (s *Server) responses(w http.ResponseWriter, r *http.Request) {
	var req responsesRequest
	e := s.decode(w, r, &req)
	var j *job
	if e == nil {
		j, e = s.responsesJob(r, &req)
	}
	if e != nil {
		writeError(w, e)
		return
	}
	s.run(w, r, j)
}

func (s *Server) responsesJob(r *http.Request, req *responsesRequest) (*job, *apiError) {
	if req.Previous != "" || req.Background {
		return nil, badRequest("previous_response_id", "responses are not stored: previous_response_id and background are not simulated")
	}
	messages := []message(req.Input)
	if req.Instructions != "" {
		messages = slices.Insert(messages, 0, message{Role: "system", Content: messageText(req.Instructions)})
	}
	if e := checkMessages(messages); e != nil {
		return nil, e
	}
	g := generation{Model: req.Model, Stream: req.Stream, use: toolUse{tools: readTools(req.Tools), choice: req.ToolChoice}}
	if e := g.use.check(); e != nil {
		return nil, e
	}
	if req.Text != nil {
		g.Format = req.Text.Format
	}
	f := &responsesFormat{
		instructions: orNull(req.Instructions), maxTokens: req.MaxTokens, message: s.newID("msg_"),
	}
	j, e := s.newJob(r, "resp_", &g, f)
	if e != nil {
		return nil, e
	}
	src := source{tokens: tokenize(nil, prompt(messages, req.Tools)), question: question(messages)}
	return j, s.addChoices(j, &g, req.MaxTokens, src)
}
