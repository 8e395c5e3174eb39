package extproc

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"crossfade.dev/internal/scheduling"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/types/known/structpb"
)

// maxMessages bounds the replies of a request phase beyond one for each piece of
// the body sent.
const maxMessages = 4096

// A choice is what a picker has said of a request so far. It is fed the picker's
// messages one by one and has no part in sending or receiving them.
//
// Pickers answer in two ways, and one request may see both. To those that stream in
// full duplex, the body sent and the body returned are two streams: what they
// return, up to its end_of_stream, is the body. Others answer each piece of the
// body: with what replaces it, or with nothing, which leaves the piece as it is.
// Replies to the head and to the body may come in either order.
type choice struct {
	pieces [][]byte // of the body as it is sent; none: no body
	limit  int      // on the bytes of a body that replaces it

	heard    bool // anything at all
	messages int
	head     bool // the head has been answered
	edits    edits

	fromHeader, fromMetadata     string
	hasHeader, hasMetadata       bool
	answered                     int      // pieces
	body                         [][]byte // what replaces pieces, as far as answered
	changed                      bool     // body is not just pieces
	replaced                     int      // bytes of body that are the picker's
	streamed, ended, firstIsBody bool
}

// take takes the next message. Its error is a *scheduling.ExternalAnswer, or says
// what is wrong with the message.
func (c *choice) take(m *extprocv3.ProcessingResponse) error {
	c.heard = true
	if c.messages++; c.messages > maxMessages+len(c.pieces) {
		return fmt.Errorf("it sends more than %d messages", maxMessages)
	}
	if err := c.takeMetadata(m.GetDynamicMetadata()); err != nil {
		return err
	}
	switch r := m.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_RequestHeaders:
		return c.takeHead(r.RequestHeaders.GetResponse())
	case *extprocv3.ProcessingResponse_RequestBody:
		return c.takeBody(r.RequestBody.GetResponse())
	case *extprocv3.ProcessingResponse_ImmediateResponse:
		return immediate(r.ImmediateResponse)
	case *extprocv3.ProcessingResponse_RequestTrailers, nil:
		return nil
	case *extprocv3.ProcessingResponse_StreamedImmediateResponse:
		return errStreamedImmediate
	default:
		return errors.New("it comments on an answer before there is one")
	}
}

// takeMetadata notes the endpoints named in metadata.
func (c *choice) takeMetadata(m *structpb.Struct) error {
	v, ok := m.GetFields()[destinationSpace].GetStructValue().GetFields()[destinationKey]
	if !ok {
		return nil
	}
	if c.hasMetadata && !sameDestinations(c.fromMetadata, v.GetStringValue()) {
		return errors.New("it names endpoints twice and differently")
	}
	c.fromMetadata, c.hasMetadata = v.GetStringValue(), true
	return nil
}

func (c *choice) takeHead(r *extprocv3.CommonResponse) error {
	if c.head {
		return errors.New("it answers the head twice")
	}
	c.head = true
	if err := c.edit(r); err != nil {
		return err
	}
	if r.GetStatus() != extprocv3.CommonResponse_CONTINUE_AND_REPLACE {
		return nil
	}
	c.ended = true // it wants to see no more of the request
	c.body, c.changed, c.replaced = nil, r.GetBodyMutation() != nil, 0
	return c.append(r.GetBodyMutation().GetBody())
}

// edit notes the header changes of a reply.
func (c *choice) edit(r *extprocv3.CommonResponse) error {
	if err := c.edits.add(r.GetHeaderMutation()); err != nil {
		return err
	}
	if v, ok := c.edits.value(destinationField); ok {
		c.fromHeader, c.hasHeader = v, true
	}
	return nil
}

func (c *choice) takeBody(r *extprocv3.CommonResponse) error {
	if c.ended {
		return nil // of a piece that was on its way when the picker had enough
	}
	if err := c.edit(r); err != nil {
		return err
	}
	switch b := r.GetBodyMutation().GetMutation().(type) {
	case *extprocv3.BodyMutation_StreamedResponse:
		c.streamed, c.changed = true, true
		s := b.StreamedResponse
		c.ended = s.GetEndOfStream() || s.GetEndOfStreamWithoutMessage()
		return c.append(s.GetBody())
	case *extprocv3.BodyMutation_Body:
		c.firstIsBody = c.answered == 0
		return c.answer(b.Body)
	case *extprocv3.BodyMutation_ClearBody:
		if b.ClearBody {
			return c.answer(nil)
		}
	}
	if c.answered >= len(c.pieces) {
		return errors.New("it answers more of the body than there is")
	}
	c.body = append(c.body, c.pieces[c.answered])
	c.answered++
	return nil
}

// answer replaces the next piece.
func (c *choice) answer(with []byte) error {
	if c.answered >= len(c.pieces) {
		return errors.New("it answers more of the body than there is")
	}
	c.answered++
	c.changed = true
	return c.append(with)
}

// append adds bytes of the picker's to the body.
func (c *choice) append(p []byte) error {
	if c.replaced += len(p); c.replaced > c.limit {
		return fmt.Errorf("it makes the request's body larger than %d bytes", c.limit)
	}
	if len(p) > 0 {
		c.body = append(c.body, p)
	}
	return nil
}

// done reports whether the picker has said all that is needed.
func (c *choice) done() bool {
	return c.head && (len(c.pieces) == 0 || c.ended || c.answered == len(c.pieces) && !c.streamed || c.whole())
}

// whole reports whether the only reply to a body of several pieces is one body for
// all of them, as from pickers that collect it: its length is the one announced.
func (c *choice) whole() bool {
	if !c.firstIsBody || c.answered != 1 || c.streamed {
		return false
	}
	announced, ok := c.edits.value("Content-Length")
	return ok && announced == strconv.Itoa(c.replaced)
}

// newBody returns what replaces the body; nil when it stays as it is, empty but not
// nil when nothing is left of it.
func (c *choice) newBody() [][]byte {
	if !c.changed {
		return nil
	}
	if c.body == nil {
		return [][]byte{}
	}
	return c.body
}

// list returns the endpoints chosen, as the picker wrote them. Header and metadata
// must not differ (proposal 004); which of them such a picker keeps its books by,
// nobody can tell.
func (c *choice) list() (string, error) {
	switch {
	case c.hasHeader && c.hasMetadata && !sameDestinations(c.fromHeader, c.fromMetadata):
		return "", fmt.Errorf("it names %.100q in the header and %.100q in the metadata", c.fromHeader, c.fromMetadata)
	case c.hasHeader:
		return c.fromHeader, nil
	case c.hasMetadata:
		return c.fromMetadata, nil
	}
	return "", errors.New("it names no endpoint")
}

var errStreamedImmediate = errors.New("it streams an answer of its own, which is not supported")

// maxImmediateBody bounds the body of an answer that a picker gives itself.
const maxImmediateBody = 1 << 20

// immediate returns what the client is to be answered, as an error.
func immediate(r *extprocv3.ImmediateResponse) error {
	a := &scheduling.ExternalAnswer{Status: int(r.GetStatus().GetCode()), Header: http.Header{}, Body: r.GetBody()}
	if a.Status == 0 {
		a.Status = http.StatusOK
	}
	if a.Status < 200 || a.Status > 599 || len(a.Body) > maxImmediateBody {
		return fmt.Errorf("it answers with status %d and %d bytes, which cannot be passed on", a.Status, len(a.Body))
	}
	var e edits
	if err := e.add(r.GetHeaders()); err != nil {
		return err
	}
	e.apply(a.Header)
	return a
}
