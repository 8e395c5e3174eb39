package sim

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"net/http"
	"time"
)

type embeddingRequest struct {
	Model      string      `json:"model"`
	Input      promptInput `json:"input"`
	Encoding   string      `json:"encoding_format"`
	Dimensions *int        `json:"dimensions"`
}

// Sizes of an embedding: short by default, since nobody compares them.
const (
	defaultDimensions = 64
	maxDimensions     = 4096
)

func (s *Server) embeddings(w http.ResponseWriter, r *http.Request) {
	var req embeddingRequest
	e := s.decode(w, r, &req)
	var j *job
	if e == nil {
		j, e = s.embeddingJob(r, &req)
	}
	if e != nil {
		writeError(w, e)
		return
	}
	s.run(w, r, j)
}

func (s *Server) embeddingJob(r *http.Request, req *embeddingRequest) (*job, *apiError) {
	f := embeddingFormat{dimensions: defaultDimensions, base64: req.Encoding == "base64"}
	if req.Encoding != "" && req.Encoding != "float" && !f.base64 {
		return nil, badRequest("encoding_format", "encoding_format is %q: want float or base64", req.Encoding)
	}
	if req.Dimensions != nil {
		f.dimensions = *req.Dimensions
	}
	if f.dimensions < 1 || f.dimensions > maxDimensions {
		return nil, badRequest("dimensions", "dimensions is %d: want 1 to %d", f.dimensions, maxDimensions)
	}
	if e := req.Input.check("input"); e != nil {
		return nil, e
	}
	_, adapter, e := s.speaker(req.Model)
	if e != nil {
		return nil, e
	}
	m, e := s.mishap(r)
	if e != nil {
		return nil, e
	}
	j := &job{id: s.newID("embd-"), model: req.Model, created: time.Now().Unix(), mishap: m}
	for _, src := range req.Input {
		if len(src.tokens) > s.cfg.Limits.MaxModelLen {
			return nil, badRequest("input", "This model's maximum context length is %d tokens, and an input has %d.",
				s.cfg.Limits.MaxModelLen, len(src.tokens))
		}
		j.choices = append(j.choices, choice{task: task{work: Work{Prompt: src.tokens, Adapter: adapter}, finish: "stop"}})
		f.seeds = append(f.seeds, blockHashes(src.tokens, len(src.tokens), hashString(0, req.Model))[0])
		j.prompt += len(src.tokens)
	}
	j.format = f
	return j, nil
}

// embeddingFormat is the JSON of /v1/embeddings, which is never streamed.
type embeddingFormat struct {
	seeds      []uint64 // one per input
	dimensions int
	base64     bool
}

type embeddingBody struct {
	ID      string          `json:"id"`
	Object  string          `json:"object"`
	Created int64           `json:"created"`
	Model   string          `json:"model"`
	Data    []embeddingData `json:"data"`
	Usage   usage           `json:"usage"`
}

type embeddingData struct {
	Index     int    `json:"index"`
	Object    string `json:"object"`
	Embedding any    `json:"embedding"`
}

func (f embeddingFormat) whole(j *job, cached int) any {
	body := embeddingBody{ID: j.id, Object: "list", Created: j.created, Model: j.model, Usage: j.usage(cached)}
	for i, seed := range f.seeds {
		d := embeddingData{Index: i, Object: "embedding", Embedding: direction(seed, f.dimensions)}
		if f.base64 {
			d.Embedding = littleEndian(direction(seed, f.dimensions))
		}
		body.Data = append(body.Data, d)
	}
	return body
}

func (f embeddingFormat) open(b []byte, _ *job) []byte { return b }

func (f embeddingFormat) piece(b []byte, _ *job, _ int, _ string, _ []progress) []byte { return b }

func (f embeddingFormat) close(b []byte, _ *job, _ []progress) []byte { return b }

// direction is a vector of length 1 that depends on the seed alone.
func direction(seed uint64, n int) []float32 {
	v := make([]float64, n)
	sum := 0.0
	for i := range v {
		seed = mix(seed)
		v[i] = float64(int64(seed)) / math.MaxInt64
		sum += v[i] * v[i]
	}
	out := make([]float32, n)
	for i := range v {
		out[i] = float32(v[i] / math.Sqrt(sum))
	}
	return out
}

func littleEndian(v []float32) string {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return base64.StdEncoding.EncodeToString(b)
}
