package sim

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
)

// apiError is an error in the shape of vLLM's API:
// {"error":{"message":…,"type":…,"param":…,"code":…}}.
type apiError struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    int     `json:"code"` // the HTTP status
}

func (e *apiError) Error() string { return e.Message }

// badRequest is a 400; param names the field at fault, or is empty.
func badRequest(param, format string, args ...any) *apiError {
	e := &apiError{Message: fmt.Sprintf(format, args...), Type: "BadRequestError", Code: http.StatusBadRequest}
	if param != "" {
		e.Param = &param
	}
	return e
}

func notFound(param, format string, args ...any) *apiError {
	e := badRequest(param, format, args...)
	e.Type, e.Code = "NotFoundError", http.StatusNotFound
	return e
}

// failure is an error of any status.
func failure(status int, format string, args ...any) *apiError {
	e := badRequest("", format, args...)
	e.Code = status
	if status >= 500 {
		e.Type = "InternalServerError"
	}
	return e
}

func writeError(w http.ResponseWriter, e *apiError) {
	writeJSON(w, e.Code, map[string]*apiError{"error": e})
}

// writeJSON sends v in one write, with its length, without HTML escapes.
func writeJSON(w http.ResponseWriter, status int, v any) {
	body := encodeJSON(v)
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)))
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client is gone if this fails, and nobody is left to tell
}

// encodeJSON encodes our own response types, which always can be.
func encodeJSON(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic(fmt.Sprintf("sim: encode response: %v", err))
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}
