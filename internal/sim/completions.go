package sim

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
)

type completionRequest struct {
	generation
	Prompt promptInput `json:"prompt"`
	Suffix string      `json:"suffix"`
	Echo   bool        `json:"echo"`
}

// promptInput is one or more prompts, each a text or an array of token numbers.
type promptInput []source

func (p *promptInput) UnmarshalJSON(b []byte) error {
	*p = nil
	var texts oneOrMore[string]
	if json.Unmarshal(b, &texts) == nil {
		for _, text := range texts {
			*p = append(*p, source{tokens: tokenize(nil, text), question: text})
		}
		return nil
	}
	var one []uint32
	if json.Unmarshal(b, &one) == nil {
		*p = promptInput{{tokens: one}}
		return nil
	}
	var many [][]uint32
	if json.Unmarshal(b, &many) != nil {
		return errors.New("a prompt must be a string, an array of strings, or one or more arrays of token numbers")
	}
	for _, tokens := range many {
		*p = append(*p, source{tokens: tokens})
	}
	return nil
}

// check refuses what cannot be computed.
func (p promptInput) check(field string) *apiError {
	if len(p) == 0 || len(p) > maxPrompts {
		return badRequest(field, "%d prompts in %s: want 1 to %d", len(p), field, maxPrompts)
	}
	for _, src := range p {
		if len(src.tokens) == 0 {
			return badRequest(field, "%s contains an empty prompt", field)
		}
	}
	return nil
}

// defaultCompletionTokens is max_tokens of /v1/completions when absent.
const defaultCompletionTokens = 16

func (s *Server) completions(w http.ResponseWriter, r *http.Request) {
	var req completionRequest
	e := s.decode(w, r, &req)
	var j *job
	if e == nil {
		j, e = s.completionJob(r, &req)
	}
	if e != nil {
		writeError(w, e)
		return
	}
	s.run(w, r, j)
}

func (s *Server) completionJob(r *http.Request, req *completionRequest) (*job, *apiError) {
	if req.Suffix != "" || req.Echo {
		return nil, badRequest("", "suffix and echo are not simulated")
	}
	if e := req.check(); e != nil {
		return nil, e
	}
	if e := req.Prompt.check("prompt"); e != nil {
		return nil, e
	}
	j, e := s.newJob(r, "cmpl-", &req.generation, textFormat{})
	if e != nil {
		return nil, e
	}
	asked := req.MaxTokens
	if asked == nil {
		n := defaultCompletionTokens
		asked = &n
	}
	for _, src := range req.Prompt {
		if e := s.addChoices(j, &req.generation, asked, src); e != nil {
			return nil, e
		}
	}
	return j, nil
}

// textFormat is the JSON of /v1/completions.
type textFormat struct{}

type textBody struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"`
	Model   string       `json:"model"`
	Choices []textChoice `json:"choices"`
	Usage   usage        `json:"usage"`
}

type textChoice struct {
	Index          int       `json:"index"`
	Text           string    `json:"text"`
	Logprobs       *struct{} `json:"logprobs"`
	FinishReason   string    `json:"finish_reason"`
	StopReason     *string   `json:"stop_reason"`
	PromptLogprobs *struct{} `json:"prompt_logprobs"`
}

func (textFormat) whole(j *job, cached int) any {
	body := textBody{ID: j.id, Object: "text_completion", Created: j.created, Model: j.model, Usage: j.usage(cached)}
	for i, c := range j.choices {
		body.Choices = append(body.Choices, textChoice{
			Index: i, Text: c.answer.text, FinishReason: c.answer.finish, StopReason: orNull(c.answer.stop),
		})
	}
	return body
}

func (textFormat) open(b []byte, _ *job) []byte { return b }

func (textFormat) piece(b []byte, j *job, choice int, text string, seen []progress) []byte {
	b = chunkHead(b, j, "text_completion")
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, int64(choice), 10)
	b = append(b, `,"text":`...)
	b = appendString(b, text)
	b = append(b, `,"logprobs":null,"finish_reason":`...)
	b = appendFinish(b, j.choices[choice].answer, seen[choice].done)
	b = append(b, '}')
	return chunkEnd(b, j, seen)
}

func (textFormat) close(b []byte, j *job, seen []progress) []byte {
	return closeChunks(b, j, "text_completion", seen)
}
