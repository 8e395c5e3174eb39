package llm

import (
	"net/http"
	"strconv"
)

// The values of an error's type, as OpenAI's API uses them: whose fault it is.
const (
	typeInvalidRequest = "invalid_request_error"
	typeRateLimit      = "rate_limit_error"
	typeServer         = "server_error"
)

// Error is an answer the gateway gives in an engine's stead, in the shape of
// OpenAI's API, so that the clients' libraries understand it.
type Error struct {
	Status  int    // HTTP status
	Type    string // whose fault: invalid_request_error, rate_limit_error, server_error
	Code    string // the machine's word for it; "" is sent as null
	Param   string // the request field at fault; "" is sent as null
	Message string // for people: what is wrong and what to do; never text of a prompt
}

// Error returns status, code and message, for logs.
func (e *Error) Error() string {
	s := strconv.Itoa(e.Status)
	if e.Code != "" {
		s += " " + e.Code
	}
	return s + ": " + e.Message
}

// JSON returns the body of the answer.
func (e *Error) JSON() []byte { return e.appendJSON(nil) }

// Event returns the same as one server-sent event, for a stream that has
// already begun. The stream must stand between two events; see
// [Meter.AtBoundary].
func (e *Error) Event() []byte {
	return append(e.appendJSON([]byte("data: ")), "\n\n"...)
}

func (e *Error) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"error":{"message":`...)
	dst = appendQuoted(dst, e.Message)
	dst = append(dst, `,"type":`...)
	dst = appendQuoted(dst, e.Type)
	dst = append(dst, `,"param":`...)
	dst = appendQuotedOrNull(dst, e.Param)
	dst = append(dst, `,"code":`...)
	dst = appendQuotedOrNull(dst, e.Code)
	return append(dst, "}}"...)
}

func appendQuotedOrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return appendQuoted(dst, s)
}

// BadRequest is a 400 about one field of the request, or about the whole of it
// when param is "".
func BadRequest(param, message string) *Error {
	return &Error{Status: http.StatusBadRequest, Type: typeInvalidRequest, Param: param, Message: message}
}

// MissingModel is the 400 for a body without "model" where the route needs one.
func MissingModel() *Error {
	return BadRequest("model", `The request names no model; set "model" to one that GET /v1/models lists.`)
}

// ModelNotFound is the 404 for a model that nothing behind the route serves.
func ModelNotFound(name string) *Error {
	return &Error{
		Status:  http.StatusNotFound,
		Type:    typeInvalidRequest,
		Code:    "model_not_found",
		Param:   "model",
		Message: "No model named `" + name + "` is served here; GET /v1/models lists those that are.",
	}
}

// RouteNotFound is the 404 for a request that no route matches.
func RouteNotFound() *Error {
	return &Error{
		Status:  http.StatusNotFound,
		Type:    typeInvalidRequest,
		Code:    "route_not_found",
		Message: "No route matches this host, path and method.",
	}
}

// TooLarge is the 413 for a body above limit bytes; limitName says which
// setting to raise.
func TooLarge(limit int64, limitName string) *Error {
	return &Error{
		Status: http.StatusRequestEntityTooLarge,
		Type:   typeInvalidRequest,
		Code:   "body_too_large",
		Message: "The request body is larger than " + strconv.FormatInt(limit, 10) +
			" bytes, the limit set by " + limitName + "; send less or have the limit raised.",
	}
}

// RateLimited is the 429 for a client, or a class of requests, over its share.
func RateLimited(message string) *Error {
	return &Error{Status: http.StatusTooManyRequests, Type: typeRateLimit, Code: "rate_limit_exceeded", Message: message}
}

// Internal is the 500 for a fault of the gateway or of its configuration.
func Internal(message string) *Error {
	return &Error{Status: http.StatusInternalServerError, Type: typeServer, Code: "internal_error", Message: message}
}

// BadGateway is the 502 for an engine that could not be reached or did not
// speak HTTP to the end of its response head.
func BadGateway(message string) *Error {
	return &Error{Status: http.StatusBadGateway, Type: typeServer, Code: "bad_gateway", Message: message}
}

// Overloaded is the 503 for a gateway out of room; the answer should carry
// Retry-After.
func Overloaded(message string) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Type: typeServer, Code: "overloaded", Message: message}
}

// Unavailable is the 503 for a pool without a ready endpoint.
func Unavailable(message string) *Error {
	return &Error{Status: http.StatusServiceUnavailable, Type: typeServer, Code: "unavailable", Message: message}
}

// GatewayTimeout is the 504 for an engine that did not answer in time.
func GatewayTimeout(message string) *Error {
	return &Error{Status: http.StatusGatewayTimeout, Type: typeServer, Code: "timeout", Message: message}
}
