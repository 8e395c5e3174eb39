package sim

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
)

// decode reads the JSON object of a request into v. The errors are those of
// vLLM's own checks, except that vLLM has no limit on the body's size.
func (s *Server) decode(w http.ResponseWriter, r *http.Request, v any) *apiError {
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		e := badRequest("", "Content-Type must be application/json")
		e.Code = http.StatusUnsupportedMediaType
		return e
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, s.maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		e := badRequest("", "the body is larger than the limit of %d bytes", tooLarge.Limit)
		e.Code = http.StatusRequestEntityTooLarge
		return e
	case err != nil:
		return badRequest("", "the body ended early")
	}
	var wrongType *json.UnmarshalTypeError
	var syntax *json.SyntaxError
	err = json.Unmarshal(body, v)
	switch {
	case errors.As(err, &syntax):
		return badRequest("", "the body is not valid JSON: %s at byte %d", err, syntax.Offset)
	case errors.As(err, &wrongType):
		field := strings.TrimPrefix(wrongType.Field, "generation.") // the embedded struct, which no client knows
		return badRequest(field, "%s has the wrong type: got a JSON %s", field, wrongType.Value)
	case err != nil:
		return badRequest("", "%s", err)
	}
	return nil
}

// oneOrMore decodes a value or an array of values.
type oneOrMore[T any] []T

func (l *oneOrMore[T]) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, (*[]T)(l))
	}
	if string(b) == "null" {
		return nil
	}
	var one T
	if err := json.Unmarshal(b, &one); err != nil {
		return err
	}
	*l = oneOrMore[T]{one}
	return nil
}
