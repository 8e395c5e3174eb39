package upstream

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http/httpguts"
)

// A sender writes a large or streamed request while the exchange already listens for the
// answer: a server may refuse a body before it has read it, and would otherwise be waiting for
// us to listen while we wait for it to read.
//
// It owns the connection's write side, and the read deadline until the head of the response is
// there: the wait for the first byte begins when the request is out.
type sender struct {
	conn *conn
	req  *Request
	size int64
	done chan struct{}

	// op and err tell how it went; valid once done is closed.
	op  string
	err error

	mu       sync.Mutex
	answered bool
}

// pieceSize is the most that one write hands to the kernel: small enough that a slow but moving
// endpoint never looks stalled.
const pieceSize = 256 << 10

// startSender sends the rendered head, then the body of req.
func startSender(c *conn, req *Request, head *buffer, size int64) *sender {
	s := &sender{conn: c, req: req, size: size, op: OpWrite, done: make(chan struct{})}
	c.outgoing = head
	go s.run()
	return s
}

func (s *sender) run() {
	if s.req.Stream == nil {
		s.err = s.sendParts()
	} else {
		s.op, s.err = s.sendStream()
	}
	s.conn.sent()
	if s.err == nil {
		s.awaitAnswer()
	}
	// A broken connection wakes the reader by itself, perhaps with an answer that the server
	// sent before it hung up. A source that failed or a server that stopped reading does not.
	hangUp := s.op == OpStream || isTimeout(s.err)
	// From here on the connection may serve another request, except when it is to be closed;
	// and the reader, woken by that, is to find the reason.
	close(s.done)
	if hangUp {
		s.conn.close()
	}
}

// awaitAnswer starts the clock for the first byte, unless the answer is already there.
func (s *sender) awaitAnswer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if timeout := s.req.FirstByteTimeout; !s.answered && timeout > 0 {
		s.conn.nc.SetReadDeadline(time.Now().Add(timeout))
	}
}

// headArrived hands the read deadline back to the reader.
func (s *sender) headArrived() {
	s.mu.Lock()
	s.answered = true
	s.mu.Unlock()
}

// finished says whether the whole request has been sent, waiting up to grace for it. The server
// may answer a moment before this goroutine gets to say that it is done.
func (s *sender) finished(grace time.Duration) bool {
	select {
	case <-s.done:
		return s.err == nil
	default:
	}
	if grace == 0 {
		return false
	}
	timer := time.NewTimer(grace)
	defer timer.Stop()
	select {
	case <-s.done:
		return s.err == nil
	case <-timer.C:
		return false
	}
}

// settle waits until the sender has let go of the caller's body; the connection is closed. A
// Stream is not waited for, since nothing here can end a Read of it.
func (s *sender) settle() {
	if s.req.Stream == nil {
		<-s.done
	}
}

// cause names what ended the exchange when reading the answer failed with op and err: the
// source, if it failed; else the sending, if it was not over and no answer had begun.
func (s *sender) cause(op string, err error, heard bool) (string, error) {
	select {
	case <-s.done:
		if s.err != nil && (s.op == OpStream || !heard) {
			return s.op, s.err
		}
	default:
		if !heard {
			return OpWrite, err
		}
	}
	return op, err
}

// sendParts writes the head and the parts of the body, as many at a time as make a piece.
func (s *sender) sendParts() error {
	batch, size := net.Buffers{s.conn.outgoing.unread()}, 0
	for _, part := range s.req.Body {
		for len(part) > 0 {
			n := min(len(part), pieceSize-size)
			batch, part, size = append(batch, part[:n]), part[n:], size+n
			if size < pieceSize {
				continue
			}
			if err := s.write(batch...); err != nil {
				return err
			}
			batch, size = batch[:0], 0
		}
	}
	return s.write(batch...)
}

func (s *sender) write(parts ...[]byte) error {
	return s.conn.write(s.req.FirstByteTimeout, parts...)
}

// sendStream writes the head, then each read of the stream in one write.
func (s *sender) sendStream() (op string, err error) {
	if err := s.write(s.conn.outgoing.unread()); err != nil {
		return OpWrite, err
	}
	// The head's buffer is free now, and as large as a read of the stream should be.
	buf := s.conn.outgoing.data[:writeSize]
	if s.size == unknownLength {
		return s.sendChunks(buf)
	}
	for left := s.size; left > 0; {
		n, err := s.req.Stream.Read(buf[:min(int64(len(buf)), left)])
		if n > 0 {
			if err := s.write(buf[:n]); err != nil {
				return OpWrite, err
			}
			left -= int64(n)
		}
		if left > 0 && err == io.EOF {
			return OpStream, fmt.Errorf("body is %d bytes short: %w", left, io.ErrUnexpectedEOF)
		}
		if left > 0 && err != nil {
			return OpStream, err
		}
	}
	return OpWrite, nil
}

// sendChunks writes each read of the stream as one chunk, then the trailer.
func (s *sender) sendChunks(buf []byte) (op string, err error) {
	const room = len("4000\r\n") // for the size line before the data; writeSize is 4000 in hex
	for {
		n, readErr := s.req.Stream.Read(buf[room : len(buf)-len("\r\n")])
		if n > 0 {
			if err := s.write(frameChunk(buf, room, n)); err != nil {
				return OpWrite, err
			}
		}
		if readErr == io.EOF {
			break
		}
		if readErr != nil {
			return OpStream, readErr
		}
	}
	end, err := appendTrailer(append(buf[:0], "0\r\n"...), s.req.Trailer)
	if err != nil {
		return OpStream, err
	}
	return OpWrite, s.write(end)
}

// frameChunk puts the size line before and the line end behind the n bytes at buf[room:], and
// returns the chunk.
func frameChunk(buf []byte, room, n int) []byte {
	var line [20]byte
	size := append(strconv.AppendInt(line[:0], int64(n), 16), "\r\n"...)
	start := room - len(size)
	copy(buf[start:], size)
	end := append(buf[:room+n], "\r\n"...)
	return end[start:]
}

// appendTrailer appends the trailer section with its empty line.
func appendTrailer(b []byte, trailer http.Header) ([]byte, error) {
	for name := range trailer {
		if !httpguts.ValidTrailerHeader(http.CanonicalHeaderKey(name)) {
			return b, fmt.Errorf("trailer field %q is not allowed", name)
		}
	}
	b, err := appendFields(b, trailer)
	return append(b, "\r\n"...), err
}
