package extproc

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"crossfade.dev/internal/scheduling"
)

// AnswerBody is the body of an answer: what is read of it, and the trailer behind
// it, valid after io.EOF.
type AnswerBody = interface {
	io.Reader
	Trailer() http.Header
}

// An answer is an endpoint's answer that passes through the picker. One goroutine,
// the sender, reads the endpoint and sends; the caller of Read receives.
type answer struct {
	call   *Call
	engine AnswerBody // nil: the answer has no body
	// live answers are streams of events: a client waits for each, so the picker is
	// not to sit on any. Others may come back whole after their end.
	live bool
	left chan leftover // the sender's last word

	mu        sync.Mutex
	relay     *relay
	engineErr error // the endpoint broke off
	raw       bool  // the rest passes the picker by

	// Of the reader alone.
	heard  bool // what dispatch.go had received
	direct bool // it reads engine itself
	err    error
}

// leftover is what a sender had read and not sent when it ended.
type leftover struct {
	piece []byte
	err   error
}

// Answer shows the picker the answer of the endpoint at address served, which is to
// be the one that the client is given. header holds its fields and :status; it is
// changed as the picker wants it, as in Choose. body is nil when the answer has
// none.
//
// Answer returns the body to pass on in body's place, or nil when the picker will
// not see it. Its Read returns what came back as soon as it did; errors are those
// of body, or as those of Choose. When a Read fails, part of the answer is missing.
func (c *Call) Answer(served string, header http.Header, body AnswerBody) (AnswerBody, error) {
	if c.leftEarly() {
		return nil, nil
	}
	a := &answer{
		call: c, engine: body, relay: newRelay(c.client.opts.MaxBodyBytes), left: make(chan leftover, 1),
		live: strings.HasPrefix(strings.ToLower(header.Get("Content-Type")), "text/event-stream"),
	}
	c.answer = a
	a.relay.sentAll = body == nil
	a.mind(false)
	// When the stream is broken, receiving tells why.
	_ = c.stream.Send(responseHead(header, served, body == nil))
	if body != nil {
		c.running.Go(a.send)
	}
	for !a.relay.head { // only this goroutine writes it
		if err := a.advance(); err != nil {
			return nil, err
		}
	}
	a.relay.edits.apply(header)
	if body == nil {
		return nil, nil
	}
	return a, nil
}

// leftEarly reports whether the picker has ended the stream in order: it does not
// want to see the answer.
func (c *Call) leftEarly() bool {
	select {
	case got := <-c.next:
		c.next <- got
		return got.err == io.EOF
	default:
		return false
	}
}

// receive returns the next message; the first one comes from the goroutine that
// listened.
func (a *answer) receive() received {
	if !a.heard {
		a.heard = true
		return <-a.call.next
	}
	m, err := a.call.receive()
	return received{m, err}
}

// advance takes one message. It returns an error when nothing more can be read, and
// io.EOF is none.
func (a *answer) advance() error {
	got := a.receive()
	a.mu.Lock()
	defer a.mu.Unlock()
	err := got.err
	if err == nil {
		var progress bool
		if progress, err = a.relay.take(got.message); err == nil {
			err = a.call.charge(a.relay.size())
		}
		a.mind(progress)
	}
	if err != nil {
		return a.goOn(err)
	}
	return nil
}

// mind makes time run while the picker owes something.
func (a *answer) mind(progress bool) {
	p := &a.call.patience
	owes := a.relay.sentAll && !a.relay.done() || a.live && a.relay.waiting() || a.engineErr != nil
	if progress || !owes {
		p.stop()
	}
	if owes {
		p.begin()
	}
}

// goOn goes on without the picker, of which err came, or returns what ends the
// answer.
func (a *answer) goOn(err error) error {
	c := a.call
	var own *scheduling.ExternalAnswer
	switch {
	case errors.As(err, &own), c.parent.Err() != nil:
		return err
	case a.engineErr != nil:
		return a.engineErr
	case a.relay.head && a.relay.bodyDone():
		a.relay.trailerDone = true // some pickers have no word on trailers
		return nil
	}
	inOrder := err == io.EOF
	err = c.failed(err)
	if !inOrder {
		c.client.judge(c.pool, c.shared.picker, err)
	}
	if !inOrder && !c.pool.Picker.FailOpen || !a.relay.withoutPicker() {
		return err
	}
	a.raw = true
	c.patience.stop()
	c.cancel(nil)
	return nil
}

// Read returns what of the answer has come back.
func (a *answer) Read(p []byte) (int, error) {
	for {
		n, state := a.read(p)
		switch {
		case n > 0:
			return n, nil
		case a.err != nil:
			return 0, a.err
		case a.direct:
			return a.engine.Read(p)
		case state == passesBy:
			a.takeOver()
		case state == whole:
			a.err = io.EOF
		default:
			a.err = a.advance()
		}
	}
}

type state int

const (
	underWay state = iota
	whole
	passesBy
)

func (a *answer) read(p []byte) (int, state) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.relay.read(p)
	if n > 0 {
		_ = a.call.charge(a.relay.size()) // giving back never fails
	}
	switch {
	case a.raw:
		return n, passesBy
	case a.relay.done():
		return n, whole
	}
	return n, underWay
}

// takeOver waits for the sender's last word and reads the endpoint from then on.
func (a *answer) takeOver() {
	last := <-a.left
	a.direct, a.err = true, last.err
	if len(last.piece) > 0 {
		a.mu.Lock()
		_ = a.relay.give(last.piece) // one piece more is not too much
		a.mu.Unlock()
	}
}

// Trailer returns the trailer as the picker changed it.
func (a *answer) Trailer() http.Header {
	t := a.engine.Trailer()
	if len(a.relay.trailerEdits.list) == 0 {
		return t
	}
	if t = t.Clone(); t == nil {
		t = http.Header{}
	}
	a.relay.trailerEdits.apply(t)
	return t
}

// finished reports whether the picker has seen the whole answer and said all it
// had to say.
func (a *answer) finished() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.raw && a.engineErr == nil && a.relay.done()
}

// readBytes is how much of an answer is read at once.
const readBytes = 32 << 10

var readBuffers = sync.Pool{New: func() any { return new([readBytes]byte) }}

// send reads the endpoint and sends each piece, until either ends.
func (a *answer) send() {
	buffer := readBuffers.Get().(*[readBytes]byte)
	defer readBuffers.Put(buffer)
	for {
		n, err := a.engine.Read(buffer[:])
		// The relay keeps the piece until it has come back.
		if last, over := a.pass(bytes.Clone(buffer[:n]), err); over {
			a.left <- last
			return
		}
	}
}

// pass sends what one read of the endpoint brought. over says that the sender has
// nothing more to do.
func (a *answer) pass(piece []byte, err error) (last leftover, over bool) {
	trailer := err == io.EOF && len(a.engine.Trailer()) > 0
	end := err == io.EOF && !trailer
	if len(piece) > 0 || end {
		if !a.offer(piece, end) {
			return leftover{piece, err}, true
		}
		if a.call.stream.Send(responseBody(piece, end)) != nil {
			return leftover{err: err}, true // the relay has the piece
		}
	}
	switch {
	case trailer:
		a.sendTrailer()
	case err != nil && err != io.EOF:
		a.breakOff(err)
	}
	return leftover{err: err}, err != nil
}

// offer tells the relay of a piece that is about to be sent, and reports whether it
// is to be.
func (a *answer) offer(piece []byte, end bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.raw {
		return false
	}
	err := a.relay.sent(piece, end)
	if err == nil {
		err = a.call.charge(a.relay.size())
	}
	if err != nil {
		a.call.cancel(err) // which the reader will find
	}
	a.mind(false)
	return true
}

func (a *answer) sendTrailer() {
	a.mu.Lock()
	a.relay.sentTrailers()
	a.mind(false)
	a.mu.Unlock()
	_ = a.call.stream.Send(responseTrailers(a.engine.Trailer()))
	// Pickers that do not know trailers end the stream now instead of answering.
	_ = a.call.stream.CloseSend()
}

// breakOff tells the picker that nothing more comes. What it still has to say of
// what did come is worth waiting for; the reader reports err after it.
func (a *answer) breakOff(err error) {
	a.mu.Lock()
	a.engineErr = err
	a.mind(false)
	a.mu.Unlock()
	_ = a.call.stream.CloseSend()
}
