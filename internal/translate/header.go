package translate

import (
	"fmt"
	"net/http"

	"crossfade.dev/internal/routing"
	"golang.org/x/net/http/httpguts"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// headerModifier translates a filter that changes headers into out.
func headerModifier(out **routing.HeaderChange, spec *gwv1.HTTPHeaderFilter, at string) *fault {
	switch {
	case *out != nil:
		return unsupported(at, "the filter appears twice", "merge the two filters")
	case spec == nil:
		return missing(at, "header changes")
	}
	c := &headerChange{at: at, seen: map[string]string{}}
	for _, h := range spec.Set {
		c.out.Set = c.field(c.out.Set, "set", h)
	}
	for _, h := range spec.Add {
		c.out.Add = c.field(c.out.Add, "add", h)
	}
	for _, name := range spec.Remove {
		if key, ok := c.name("remove", name); ok {
			c.out.Remove = append(c.out.Remove, key)
		}
	}
	*out = &c.out
	return c.fault
}

// headerChange gathers one filter's changes and its first fault.
type headerChange struct {
	at    string
	seen  map[string]string // what is done to each header
	out   routing.HeaderChange
	fault *fault
}

func (c *headerChange) field(list []routing.HeaderField, action string, h gwv1.HTTPHeader) []routing.HeaderField {
	if !httpguts.ValidHeaderFieldValue(h.Value) {
		c.refuse(fmt.Sprintf("the value for header %s holds control characters", h.Name), "use printable characters")
		return list
	}
	key, ok := c.name(action, string(h.Name))
	if !ok {
		return list
	}
	return append(list, routing.HeaderField{Name: key, Value: h.Value})
}

// name returns the canonical name of a header, and false when nothing may or need
// be done to it: of equal names in one list the first counts (HTTPHeader), and
// two actions on one name are no valid filter (HTTPHeaderFilter).
func (c *headerChange) name(action, name string) (string, bool) {
	key := http.CanonicalHeaderKey(name)
	before, again := c.seen[key]
	switch {
	case !httpguts.ValidHeaderFieldName(name):
		c.refuse(fmt.Sprintf("%q is no header name", name), "correct the name")
	case reserved(key):
		c.refuse(fmt.Sprintf("header %s belongs to the gateway", key), "remove it from the filter; URLRewrite changes the hostname")
	case again && before != action:
		c.refuse(fmt.Sprintf("header %s is both %s and %s", key, before, action), "keep one action for each header")
	case !again:
		c.seen[key] = action
		return key, true
	}
	return "", false
}

func (c *headerChange) refuse(message, remedy string) {
	if c.fault == nil {
		c.fault = unsupported(c.at, message, remedy)
	}
}

// reserved says whether a header frames or addresses the message itself.
func reserved(key string) bool {
	switch key {
	case "Host", "Content-Length", "Transfer-Encoding", "Connection":
		return true
	}
	return false
}
