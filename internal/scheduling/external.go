package scheduling

import (
	"errors"
	"net/http"
	"strconv"
)

// ErrExternal is wrapped by every failure of an external endpoint picker: it could
// not be reached, broke off, was silent for too long or said what makes no sense.
// The pool's failureMode says what follows.
var ErrExternal = errors.New("external endpoint picker failed")

// ExternalAnswer is an error: the picker answers the request itself, in the
// endpoint's stead (ImmediateResponse). It is no failure of the picker.
type ExternalAnswer struct {
	Status int         // 200 to 599
	Header http.Header // canonical names; nothing that frames a message
	Body   []byte
}

// Error names the status alone: the body is for the client.
func (a *ExternalAnswer) Error() string {
	return "external endpoint picker answered " + strconv.Itoa(a.Status)
}
