package extproc

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
)

// maxIdleMessages bounds messages in a row that bring nothing of an answer.
const maxIdleMessages = 1024

// A relay is an answer on its way through a picker: what has been sent and not come
// back, and what has come back and not been read. Like a choice it has no part in
// sending or receiving.
//
// As long as a picker answers piece by piece, or streams just what it was sent, held
// is exactly what the client lacks, and the answer can go on without the picker at
// any moment. That ends when it streams something else: such a relay is unfaithful,
// and nobody can say which bytes sent are in the bytes that came back.
type relay struct {
	limit int // on the bytes of held and out together

	head      bool // the head has been answered
	edits     edits
	held      [][]byte // sent, not come back
	heldBytes int
	out       [][]byte // come back, not read
	outBytes  int

	answered    int // pieces, each with what replaces it or with nothing
	replacement int // length of the first answer to a piece, if it was a body; else -1
	streamed    bool
	unfaithful  bool
	asked       bool // bytes were sent since everything had come back
	sentAll     bool
	ended       bool // the picker says that the body is whole

	trailerSent, trailerDone bool
	trailerEdits             edits
	idle                     int
}

func newRelay(limit int) *relay { return &relay{limit: limit, replacement: -1} }

// sent notes what is about to be sent. The relay keeps piece.
func (r *relay) sent(piece []byte, last bool) error {
	r.sentAll = r.sentAll || last
	r.asked = r.asked || len(piece) > 0
	if r.unfaithful || r.ended {
		return nil
	}
	// An empty last piece is kept too: it will be answered like any other.
	r.held = append(r.held, piece)
	r.heldBytes += len(piece)
	return r.check()
}

// sentTrailers notes that trailers are about to be sent, which end the body.
func (r *relay) sentTrailers() { r.sentAll, r.trailerSent = true, true }

func (r *relay) check() error {
	if r.heldBytes+r.outBytes > r.limit {
		return fmt.Errorf("it keeps more than %d bytes of the answer back", r.limit)
	}
	return nil
}

// take takes the next message and reports whether it brought the answer further.
// Its error is a *scheduling.ExternalAnswer, or says what is wrong with the message.
func (r *relay) take(m *extprocv3.ProcessingResponse) (progress bool, err error) {
	before := r.outBytes
	switch a := m.GetResponse().(type) {
	case *extprocv3.ProcessingResponse_ResponseHeaders:
		progress, err = true, r.takeHead(a.ResponseHeaders.GetResponse())
	case *extprocv3.ProcessingResponse_ResponseBody:
		held := len(r.held)
		err = r.takeBody(a.ResponseBody.GetResponse())
		progress = r.outBytes > before || len(r.held) < held || r.ended
	case *extprocv3.ProcessingResponse_ResponseTrailers:
		r.trailerDone, progress = true, true
		err = r.trailerEdits.add(a.ResponseTrailers.GetHeaderMutation())
	case *extprocv3.ProcessingResponse_ImmediateResponse:
		err = immediate(a.ImmediateResponse)
	case *extprocv3.ProcessingResponse_StreamedImmediateResponse:
		err = errStreamedImmediate
	default: // late words about the request
	}
	if r.idle++; progress {
		r.idle = 0
		r.asked = r.asked && r.heldBytes > 0
	}
	if err == nil && r.idle > maxIdleMessages {
		err = fmt.Errorf("it sends %d messages in a row that bring nothing", r.idle)
	}
	return progress, err
}

func (r *relay) takeHead(a *extprocv3.CommonResponse) error {
	if r.head {
		return errors.New("it answers the answer's head twice")
	}
	r.head = true
	if err := r.edits.add(a.GetHeaderMutation()); err != nil {
		return err
	}
	if a.GetStatus() != extprocv3.CommonResponse_CONTINUE_AND_REPLACE || a.GetBodyMutation() == nil {
		return nil
	}
	r.lose()
	r.ended = true
	return r.give(a.GetBodyMutation().GetBody())
}

func (r *relay) takeBody(a *extprocv3.CommonResponse) error {
	if r.ended {
		return nil
	}
	switch b := a.GetBodyMutation().GetMutation().(type) {
	case *extprocv3.BodyMutation_StreamedResponse:
		return r.stream(b.StreamedResponse)
	case *extprocv3.BodyMutation_Body:
		return r.answer(b.Body, true)
	case *extprocv3.BodyMutation_ClearBody:
		if b.ClearBody {
			return r.answer(nil, true)
		}
	}
	return r.answer(nil, false)
}

// stream takes a piece of a body that the picker streams.
func (r *relay) stream(s *extprocv3.StreamedBodyResponse) error {
	r.streamed = true
	p := s.GetBody()
	if !r.unfaithful && !r.drop(p) {
		r.lose()
	}
	r.ended = s.GetEndOfStream() || s.GetEndOfStreamWithoutMessage()
	if r.ended && r.heldBytes > 0 {
		r.lose() // it left the rest out
	}
	return r.give(p)
}

// drop takes p off the front of held, if that is what held begins with.
func (r *relay) drop(p []byte) bool {
	for i := 0; ; i++ {
		if len(p) == 0 {
			r.held = r.held[i:]
			return true
		}
		if i == len(r.held) {
			return false
		}
		n := min(len(p), len(r.held[i]))
		if !bytes.Equal(p[:n], r.held[i][:n]) {
			return false
		}
		r.heldBytes -= n
		if n < len(r.held[i]) {
			r.held[i] = r.held[i][n:]
			i--
		}
		p = p[n:]
	}
}

// answer takes the answer to the first piece held: what replaces it, or nothing.
func (r *relay) answer(with []byte, replaced bool) error {
	if r.unfaithful {
		return nil // what it streams is the body
	}
	if len(r.held) == 0 {
		return errors.New("it answers more of the answer's body than was sent")
	}
	piece := r.held[0]
	r.held, r.heldBytes = r.held[1:], r.heldBytes-len(piece)
	if r.answered++; r.answered == 1 && replaced {
		r.replacement = len(with)
	}
	if !replaced {
		return r.give(piece)
	}
	return r.give(with)
}

// give puts bytes where they will be read.
func (r *relay) give(p []byte) error {
	if len(p) > 0 {
		r.out = append(r.out, p)
		r.outBytes += len(p)
	}
	return r.check()
}

// lose gives up knowing what the picker has not given back.
func (r *relay) lose() {
	r.unfaithful = true
	r.held, r.heldBytes = nil, 0
}

// read moves bytes that came back to p.
func (r *relay) read(p []byte) (n int) {
	for n < len(p) && len(r.out) > 0 {
		c := copy(p[n:], r.out[0])
		n += c
		if r.out[0] = r.out[0][c:]; len(r.out[0]) == 0 {
			r.out = r.out[1:]
		}
	}
	r.outBytes -= n
	return n
}

// bodyDone reports whether the whole body has come back.
func (r *relay) bodyDone() bool {
	return r.ended || r.sentAll && len(r.held) == 0 && (!r.streamed || r.trailerDone) || r.whole()
}

// whole is what choice.whole is.
func (r *relay) whole() bool {
	if !r.sentAll || r.answered != 1 || r.replacement < 0 || r.streamed {
		return false
	}
	announced, ok := r.edits.value("Content-Length")
	return ok && announced == strconv.Itoa(r.replacement)
}

// done reports whether the picker has said all there is to say.
func (r *relay) done() bool { return r.head && r.bodyDone() && (!r.trailerSent || r.trailerDone) }

// waiting reports whether the picker owes something.
func (r *relay) waiting() bool { return !r.head || r.asked || r.sentAll && !r.done() }

// withoutPicker makes what is held readable, so that the answer can go on without
// the picker. It returns false when nobody knows what the client lacks.
func (r *relay) withoutPicker() bool {
	if r.unfaithful && !r.ended {
		return false
	}
	r.head = true
	for _, p := range r.held {
		r.outBytes += len(p)
		if len(p) > 0 {
			r.out = append(r.out, p)
		}
	}
	r.held, r.heldBytes = nil, 0
	return true
}

// size is how many bytes the relay holds.
func (r *relay) size() int { return r.heldBytes + r.outBytes }
