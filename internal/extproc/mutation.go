package extproc

import (
	"fmt"
	"net/http"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"golang.org/x/net/http/httpguts"
)

// Limits on the header changes of one Call's phase.
const (
	maxFields     = 256
	maxFieldBytes = 64 << 10 // of names and values together
)

// edits are the header changes that a picker asked for in one phase, in order.
type edits struct {
	list   []*extprocv3.HeaderMutation
	fields int
	bytes  int
}

// add takes a change over once it is known to be sound.
func (e *edits) add(m *extprocv3.HeaderMutation) error {
	if len(m.GetSetHeaders()) == 0 && len(m.GetRemoveHeaders()) == 0 {
		return nil
	}
	e.fields += len(m.GetSetHeaders()) + len(m.GetRemoveHeaders())
	for _, name := range m.GetRemoveHeaders() {
		e.bytes += len(name)
	}
	for _, o := range m.GetSetHeaders() {
		value := valueOf(o.GetHeader())
		e.bytes += len(o.GetHeader().GetKey()) + len(value)
		if e.bytes > maxFieldBytes {
			break
		}
		if err := checkField(o.GetHeader().GetKey(), value); err != nil {
			return err
		}
	}
	if e.fields > maxFields || e.bytes > maxFieldBytes {
		return fmt.Errorf("it changes more than %d header fields or %d bytes of them", maxFields, maxFieldBytes)
	}
	e.list = append(e.list, m)
	return nil
}

// checkField refuses what could not be written as one header field. Pseudo-headers
// are no header fields; they are passed over later.
func checkField(name, value string) error {
	if strings.HasPrefix(name, ":") {
		return nil
	}
	if !httpguts.ValidHeaderFieldName(name) {
		return fmt.Errorf("it sets a header field with the malformed name %.40q", name)
	}
	if !httpguts.ValidHeaderFieldValue(value) {
		return fmt.Errorf("it sets header field %.40q to a malformed value", name)
	}
	return nil
}

// valueOf prefers raw_value, which is what Envoy sends.
func valueOf(h *corev3.HeaderValue) string {
	if len(h.GetRawValue()) > 0 {
		return string(h.GetRawValue())
	}
	return h.GetValue()
}

// apply changes h.
func (e *edits) apply(h http.Header) {
	for _, m := range e.list {
		for _, name := range m.GetRemoveHeaders() {
			if name = http.CanonicalHeaderKey(name); !guarded(name) {
				delete(h, name)
			}
		}
		for _, o := range m.GetSetHeaders() {
			if name := http.CanonicalHeaderKey(o.GetHeader().GetKey()); !guarded(name) {
				set(h, name, o)
			}
		}
	}
}

// set does what an option asks for. The zero value of append_action, which
// elsewhere in Envoy's API means to append, means to overwrite here, as ext_proc's
// documentation of the older field append has it.
func set(h http.Header, name string, o *corev3.HeaderValueOption) {
	before, exists := h[name]
	value := valueOf(o.GetHeader())
	//lint:ignore SA1019 pickers still set the field that append_action replaces
	if a := o.GetAppend(); a.GetValue() {
		h[name] = append(before[:len(before):len(before)], value)
		return
	} else if a == nil {
		switch o.GetAppendAction() {
		case corev3.HeaderValueOption_ADD_IF_ABSENT:
			if exists {
				return
			}
		case corev3.HeaderValueOption_OVERWRITE_IF_EXISTS:
			if !exists {
				return
			}
		}
	}
	h[name] = []string{value}
}

// guarded names the fields that no picker changes: pseudo-headers and Host decide
// where the message goes, the others are about one connection or frame the message,
// which every hop does itself (RFC 9110 §7.6.1). They are passed over in silence,
// because pickers echo whole heads.
func guarded(canonical string) bool {
	if strings.HasPrefix(canonical, ":") {
		return true
	}
	switch canonical {
	case "Host", "Content-Length", "Transfer-Encoding", "Connection", "Proxy-Connection", "Keep-Alive",
		"Te", "Trailer", "Upgrade", "Expect", "Proxy-Authenticate", "Proxy-Authorization", destinationField:
		return true
	}
	return false
}

// value is what the changes set a field to last, whether or not it is guarded.
func (e *edits) value(canonical string) (value string, ok bool) {
	for _, m := range e.list {
		for _, o := range m.GetSetHeaders() {
			if http.CanonicalHeaderKey(o.GetHeader().GetKey()) == canonical {
				value, ok = valueOf(o.GetHeader()), true
			}
		}
	}
	return value, ok
}
