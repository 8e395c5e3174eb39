package upstream

import "net/http"

// chunks takes chunked framing off a body that arrives in pieces of any size.
type chunks struct {
	state   chunkState
	digits  int   // hex digits of the current size seen
	left    int64 // bytes of the current chunk still to come
	passed  int64 // body bytes passed on
	ignored int64 // bytes of chunk extensions dropped
	trailer []byte
	limit   int // on the trailer section, in bytes
	fields  http.Header
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkBlank
	chunkExtension
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailerStart // at the start of a trailer line
	chunkTrailer
	chunkTrailerLF
	chunkEndLF
	chunkDone
)

// maxIgnored bounds the chunk extensions of a body beyond the length of the body itself: they
// carry nothing, and must not keep the gateway busy.
const maxIgnored = 4 << 10

// maxChunkDigits keeps a chunk size within an int64.
const maxChunkDigits = 15

var errChunk = protocolError("malformed chunk")

// decode moves body bytes from src to dst and returns how many it moved and how much of src it
// used. dst may be src: no more is ever moved than was used. It stops when src is used up, when
// dst is full and more data follows, or at the end of the body.
func (c *chunks) decode(dst, src []byte) (n, used int, err error) {
	for used < len(src) && c.state != chunkDone {
		if c.state != chunkData {
			if err := c.frame(src[used]); err != nil {
				return n, used, err
			}
			used++
			continue
		}
		piece := src[used:]
		if int64(len(piece)) > c.left {
			piece = piece[:c.left]
		}
		moved := copy(dst[n:], piece)
		if moved == 0 {
			return n, used, nil
		}
		n, used = n+moved, used+moved
		c.left -= int64(moved)
		c.passed += int64(moved)
		if c.left == 0 {
			c.state = chunkDataCR
		}
	}
	return n, used, nil
}

// frame takes one byte of framing.
func (c *chunks) frame(b byte) error {
	switch c.state {
	case chunkSize:
		return c.size(b)
	case chunkBlank, chunkExtension:
		return c.extension(b)
	case chunkSizeLF:
		c.state = chunkData
		if c.left == 0 {
			c.state = chunkTrailerStart
		}
		return expect(b, '\n')
	case chunkDataCR:
		c.state = chunkDataLF
		return expect(b, '\r')
	case chunkDataLF:
		c.state, c.digits = chunkSize, 0
		return expect(b, '\n')
	case chunkEndLF:
		c.state = chunkDone
		if err := expect(b, '\n'); err != nil || len(c.trailer) == 0 {
			return err
		}
		return c.parseTrailer()
	default:
		return c.trailerByte(b)
	}
}

func expect(got, want byte) error {
	if got != want {
		return errChunk
	}
	return nil
}

// size takes a byte of the chunk size or the byte that ends it.
func (c *chunks) size(b byte) error {
	digit, ok := hexDigit(b)
	switch {
	case ok && c.digits < maxChunkDigits:
		c.left, c.digits = c.left<<4|digit, c.digits+1
	case c.digits == 0 || ok:
		return errChunk
	default:
		c.state = chunkBlank
		return c.extension(b)
	}
	return nil
}

// extension drops what may stand between a chunk size and its line end: blanks, and extensions
// after a semicolon.
func (c *chunks) extension(b byte) error {
	c.ignored++
	switch {
	case b == '\r':
		c.ignored--
		c.state = chunkSizeLF
	case b == ';':
		c.state = chunkExtension
	case b == ' ' || b == '\t':
	case c.state == chunkBlank || b < ' ' || b == 0x7f:
		return errChunk
	}
	if c.ignored > maxIgnored+c.passed {
		return protocolError("chunk extensions over the limit")
	}
	return nil
}

// trailerByte collects the trailer section up to its empty line.
func (c *chunks) trailerByte(b byte) error {
	if (b == '\n') != (c.state == chunkTrailerLF) {
		return errBareEnd
	}
	switch {
	case b == '\n':
		c.state = chunkTrailerStart
	case b == '\r' && c.state == chunkTrailerStart:
		c.state = chunkEndLF
		return nil
	case b == '\r':
		c.state = chunkTrailerLF
	default:
		c.state = chunkTrailer
	}
	if len(c.trailer) >= c.limit {
		return protocolError("trailer section over the limit")
	}
	c.trailer = append(c.trailer, b)
	return nil
}

func (c *chunks) parseTrailer() (err error) {
	c.fields, err = parseTrailer(string(c.trailer))
	c.trailer = nil
	return err
}

func hexDigit(b byte) (int64, bool) {
	switch {
	case isDigit(b):
		return int64(b - '0'), true
	case 'a' <= b && b <= 'f':
		return int64(b-'a') + 10, true
	case 'A' <= b && b <= 'F':
		return int64(b-'A') + 10, true
	}
	return 0, false
}
