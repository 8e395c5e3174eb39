package proxy

import (
	"net/http"
	"strconv"

	"crossfade.dev/internal/llm"
	"crossfade.dev/internal/scheduling"
)

// A refusal is an answer that the proxy gives in an engine's stead. Whoever finds
// that a request cannot go on returns one; only exchange.refuse writes it.
type refusal struct {
	public *llm.Error
	reason string // one of llm's Reason constants
	// retryAfter says that the same request may succeed in a moment.
	retryAfter bool
	// closing says that the connection is not to be used again, because what
	// follows on it cannot be trusted or is not worth reading.
	closing bool
	// given is what the client is answered instead of public, from an external picker.
	given *scheduling.ExternalAnswer
	// gone says that the client is not there to be told.
	gone bool
}

// refuse returns the refusal for most cases.
func refuse(public *llm.Error, reason string) *refusal {
	return &refusal{public: public, reason: reason}
}

// refuseBriefly returns a refusal of a request that may be sent again soon.
func refuseBriefly(public *llm.Error, reason string) *refusal {
	return &refusal{public: public, reason: reason, retryAfter: true}
}

// retryAfterSeconds is what Retry-After says: long enough for a poll of the
// endpoints to bring news, short enough for a client to wait.
const retryAfterSeconds = "1"

// statusClientClosed is what outcomes of calls show whose client left before any
// status was sent. nginx made it common; no client ever sees it.
const statusClientClosed = 499

// clientGone is the refusal nobody hears.
func clientGone() *refusal {
	return &refusal{
		public:  &llm.Error{Status: statusClientClosed, Message: "The client closed the connection."},
		reason:  llm.ReasonClientClosed,
		closing: true,
		gone:    true,
	}
}

// write sends the refusal, with the fields that let a page of another origin read
// it. w must not have been written to.
func (no *refusal) write(w http.ResponseWriter, closing bool, allowOrigin func(http.Header) bool) (n int) {
	h := w.Header()
	clear(h)
	if closing {
		h["Connection"] = []string{"close"}
	}
	if no.gone {
		return 0
	}
	if no.given != nil {
		return no.give(w)
	}
	body := append(no.public.JSON(), '\n')
	h["Content-Type"] = []string{"application/json"}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	if no.retryAfter {
		h["Retry-After"] = []string{retryAfterSeconds}
	}
	if no.public.Status == http.StatusMethodNotAllowed {
		h["Allow"] = []string{"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"}
	}
	allowOrigin(h)
	w.WriteHeader(no.public.Status)
	// The client may be gone; there is nobody else to tell.
	n, _ = w.Write(body)
	return n
}

// give sends a picker's answer as it is.
func (no *refusal) give(w http.ResponseWriter) int {
	h := w.Header()
	h["Content-Type"] = nil // nothing said is better than net/http's guess
	for name, values := range no.given.Header {
		h[name] = values
	}
	if no.given.Status != http.StatusNoContent && no.given.Status != http.StatusNotModified {
		h["Content-Length"] = []string{strconv.Itoa(len(no.given.Body))}
	}
	w.WriteHeader(no.given.Status)
	n, _ := w.Write(no.given.Body) // the client may be gone
	return n
}
