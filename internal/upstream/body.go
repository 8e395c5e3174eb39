package upstream

// A body knows where a response body ends.
type body struct {
	framing framing
	left    int64 // byLength: bytes still to come
	ended   bool  // byClose: the server has closed
	chunks  chunks
}

type framing uint8

const (
	byLength framing = iota
	byChunks
	byClose
)

// decode moves body bytes from src to dst, which may be the same slice; see chunks.decode.
func (b *body) decode(dst, src []byte) (n, used int, err error) {
	switch b.framing {
	case byChunks:
		return b.chunks.decode(dst, src)
	case byLength:
		if int64(len(src)) > b.left {
			src = src[:b.left]
		}
		n = copy(dst, src)
		b.left -= int64(n)
		return n, n, nil
	}
	n = copy(dst, src)
	return n, n, nil
}

// done says whether the body is complete.
func (b *body) done() bool {
	switch b.framing {
	case byChunks:
		return b.chunks.state == chunkDone
	case byLength:
		return b.left == 0
	}
	return b.ended
}
