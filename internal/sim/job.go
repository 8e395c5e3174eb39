package sim

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// job is a generating request after all checks: what to compute and how to tell.
type job struct {
	id      string
	model   string // as requested, as it appears in the answer
	created int64
	choices []choice
	prompt  int // tokens of all prompts together, each counted once

	stream  bool
	options streamOptions
	format  format
	mishap  mishap
}

// choice is one answer to one prompt.
type choice struct {
	task   task
	answer answer
}

// format turns results into one API's JSON.
type format interface {
	// whole is the body of an answer that is not streamed.
	whole(j *job, cached int) any
	// open, piece and close append the frames of a stream: what comes before the
	// first token, the text of a choice that has arrived (last with its end), and
	// what comes after all choices.
	open(b []byte, j *job) []byte
	piece(b []byte, j *job, choice int, text string, done []progress) []byte
	close(b []byte, j *job, done []progress) []byte
}

// speaker finds who answers to a model name: the base model under any of its
// served names, or an adapter.
func (s *Server) speaker(model string) (name, adapter string, e *apiError) {
	if model == "" {
		return "", "", badRequest("model", "model is required")
	}
	for _, served := range s.cfg.ServedNames {
		if model == served {
			return s.cfg.Speaker(), "", nil
		}
	}
	if s.adapters.has(model) {
		return model, model, nil
	}
	return "", "", notFound("model", "The model `%s` does not exist.", model)
}

// mishap draws the faults of one request, or takes the one its header forces.
func (s *Server) mishap(r *http.Request) (mishap, *apiError) {
	f := s.Faults()
	if header := r.Header.Get(faultHeader); header != "" {
		m, err := f.force(header)
		if err != nil {
			return m, badRequest("", "%s", err)
		}
		return m, nil
	}
	return f.draw(s.roll()), nil
}

// run carries a job from the engine to the client.
func (s *Server) run(w http.ResponseWriter, r *http.Request, j *job) {
	if s.struck(w, r, j.mishap) {
		return
	}
	ctx := r.Context()
	if pause(ctx, j.mishap.wait) != nil {
		return
	}
	tasks := make([]task, len(j.choices))
	for i, c := range j.choices {
		tasks[i] = c.task
	}
	c, err := s.driver.submit(tasks, j.mishap.wait)
	if err != nil {
		writeError(w, submitError(err))
		return
	}
	// However this ends, a client that is gone must not keep the engine busy.
	defer c.leave()
	if j.stream {
		s.runStream(ctx, w, j, c)
		return
	}
	s.runWhole(ctx, w, j, c)
}

func submitError(err error) *apiError {
	if errors.Is(err, ErrQueueFull) {
		return failure(http.StatusServiceUnavailable, "%s", err)
	}
	return badRequest("", "%s", err)
}

// struck carries out the faults that need no engine and reports whether the
// request has ended with them.
func (s *Server) struck(w http.ResponseWriter, r *http.Request, m mishap) bool {
	switch m.transport {
	case "fail":
		writeError(w, failure(m.status, "the simulator was told to fail"))
	case "reset":
		reset(w)
	case "hang":
		<-r.Context().Done()
	default:
		return false
	}
	return true
}

// runWhole waits for all choices and answers at once.
func (s *Server) runWhole(ctx context.Context, w http.ResponseWriter, j *job, c *call) {
	var state []progress
	for state = c.read(state); !allDone(state); state = c.read(state) {
		if c.wait(ctx) != nil {
			return
		}
	}
	if j.mishap.transport == "break" {
		breakWhole(w, encodeJSON(j.format.whole(j, cachedTokens(state))))
	}
	writeJSON(w, http.StatusOK, j.format.whole(j, cachedTokens(state)))
}

func allDone(state []progress) bool {
	for _, p := range state {
		if !p.done {
			return false
		}
	}
	return true
}

// cachedTokens sums what the prefix cache gave. Choices of one prompt would each
// report the same prefix, so the first speaks for the request, as with vLLM.
func cachedTokens(state []progress) int { return state[0].cached }

// pause waits, unless ctx ends first.
func pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
