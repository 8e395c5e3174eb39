package upstream

import "sync"

const (
	// readSize holds a usual response head together with a usual short answer. It is what every
	// request that waits for its first byte costs in memory.
	readSize = 4 << 10
	// writeSize bounds the requests that leave in one write. Linux gives a fresh connection a
	// send buffer several times as large, so such a write does not wait for the peer to read.
	writeSize = 16 << 10
)

// A buffer is a window of bytes: data[r:w] has been read and not yet used.
type buffer struct {
	data []byte
	r, w int
}

func (b *buffer) unread() []byte { return b.data[b.r:b.w] }

// grow makes room behind w: by moving the window to the front, else by doubling up to limit.
// It reports false when the window already fills the limit.
func (b *buffer) grow(limit int) bool {
	if b.w < len(b.data) {
		return true
	}
	if b.r == 0 && len(b.data) >= limit {
		return false
	}
	data := b.data
	if b.r == 0 {
		data = make([]byte, min(2*len(b.data), limit))
	}
	b.w = copy(data, b.unread())
	b.r, b.data = 0, data
	return true
}

// A bufferPool recycles buffers of one size.
type bufferPool struct {
	size int
	pool sync.Pool
}

func (p *bufferPool) get() *buffer {
	if b, ok := p.pool.Get().(*buffer); ok {
		return b
	}
	return &buffer{data: make([]byte, p.size)}
}

// put takes b back, unless it has grown: one large head must not be kept for ever.
func (p *bufferPool) put(b *buffer) {
	if b == nil || len(b.data) != p.size {
		return
	}
	b.r, b.w = 0, 0
	p.pool.Put(b)
}
